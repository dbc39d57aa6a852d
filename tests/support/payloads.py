"""Functions that attacks on pickles call: the classes of payload that public scanners know."""

# Rebuilt from the descriptions of picklescan's and fickling's rules and advisories; every function
# that picklescan 1.0.5 lists is here, and one of each module that it lists whole.
_NAMES = """
os.system posix.system nt.system os.popen os.execv os.remove os.startfile posix.fork
subprocess.Popen subprocess.run subprocess.call subprocess.check_output subprocess.getoutput
builtins.eval builtins.exec builtins.compile builtins.__import__ builtins.getattr builtins.setattr
builtins.open builtins.globals builtins.breakpoint builtins.apply builtins.map builtins.print
__builtin__.eval __builtin__.execfile __builtin__.getattr __builtin__.apply runpy.run_path
runpy._run_code runpy.run_module pty.spawn platform.popen commands.getoutput sys.exit sys.settrace
sys.modules importlib.import_module importlib.util.spec_from_loader imp.load_source
pkgutil.resolve_name zipimport.zipimporter operator.attrgetter operator.methodcaller
operator.itemgetter functools.partial functools.reduce itertools.starmap types.FunctionType
types.CodeType marshal.loads pickle.loads _pickle.Unpickler cPickle.loads copyreg.add_extension
copyreg.__reduce_ex__ codecs.open _codecs.decode _io.FileIO io.open io.open_code shutil.rmtree
shutil.move tempfile.mktemp socket.socket socket.create_connection ssl.get_server_certificate
urllib.request.urlopen urllib2.urlopen http.client.HTTPSConnection httplib.HTTPSConnection
ftplib.FTP smtplib.SMTP telnetlib.Telnet imaplib.IMAP4_stream xmlrpc.client.ServerProxy
webbrowser.open asyncio.create_subprocess_shell
asyncio.unix_events._UnixSubprocessTransport._start ctypes.CDLL ctypes.cdll _ctypes.dlopen
multiprocessing.Process multiprocessing.util.spawnv_passfds threading.Thread
_thread.start_new_thread concurrent.futures.ThreadPoolExecutor signal.signal signal.alarm
atexit.register gc.get_objects inspect.currentframe code.interact code.InteractiveInterpreter
codeop.compile_command bdb.Bdb pdb.run pdb.Pdb profile.run cProfile.run cProfile.runctx
timeit.timeit timeit.main trace.Trace doctest.debug_script pydoc.pipepager pydoc.locate
cgitb.lookup linecache.getlines distutils.spawn.spawn distutils.file_util.write_file
ensurepip._run_pip venv.create idlelib.autocomplete.AutoComplete.get_entity
idlelib.pyshell.ModifiedInterpreter.runcode lib2to3.pgen2.grammar.Grammar.loads
lib2to3.pgen2.pgen.ParserGenerator.make_label logging.config.dictConfig uuid._get_command_stdout
_osx_support._read_output _aix_support._read_cmd_output
test.support.script_helper.assert_python_ok dataclasses.make_dataclass sqlite3.connect dbm.open
shelve.open mmap.mmap resource.setrlimit fcntl.ioctl site.addsitedir faulthandler.dump_traceback
tracemalloc.start weakref.finalize contextlib.ExitStack pip.main pip._internal.main
setuptools.sandbox.run_setup pkg_resources.load_entry_point requests.get requests.api.post
aiohttp.client.ClientSession httpx.get urllib3.PoolManager numpy.load numpy.loadtxt
numpy.testing._private.utils.runstring numpy.f2py.crackfortran.myeval numpy.f2py.f2py2e.run_main
numpy.ctypeslib.load_library numpy.distutils.exec_command.exec_command
numpy.core._multiarray_umath.fromfile numpy.memmap numpy.vectorize torch.load torch.save
torch.hub.load torch.compile torch.classes.load_library torch.ops.load_library torch.jit.load
torch.package.PackageImporter.load_pickle torch.serialization.load torch.utils.cpp_extension.load
torch._utils._import_dotted_name torch.utils.bottleneck.__main__.run_cprofile
torch.utils.collect_env.run torch.utils.data.datapipes.utils.decoder.basichandlers
torch._inductor.codecache.compile_file torch.jit.unsupported_tensor_ops.execWrapper
torch.utils._config_module.ConfigModule.load_config torch._dynamo.guards.GuardBuilder.get
torch.multiprocessing.spawn torch.distributed.init_process_group
torch.fx.experimental.symbolic_shapes.ShapeEnv.evaluate_guards_expression torch.from_file
pandas.read_pickle pandas.eval joblib.load dill.loads cloudpickle.load sympy.sympify
yaml.unsafe_load IPython.embed pexpect.spawn paramiko.SSHClient sh.bash psutil.Popen cffi.FFI
tensorflow.io.read_file keras.models.load_model some_fork.utils.system some_fork.utils.eval
megatron.training.utils.load __builtin__.compile __builtin__.exec __builtin__.open
__builtin__.breakpoint __builtins__.dir _operator.attrgetter _operator.itemgetter
_operator.methodcaller cloudpickle.cloudpickle._builtin_type
cloudpickle.cloudpickle._function_setstate cloudpickle.cloudpickle._make_cell
cloudpickle.cloudpickle._make_empty_cell cloudpickle.cloudpickle._make_function
cloudpickle.cloudpickle.subimport code.InteractiveInterpreter.runcode
idlelib.autocomplete.AutoComplete.fetch_completions idlelib.calltip.Calltip.fetch_tip
idlelib.calltip.get_entity idlelib.debugobj.ObjectTreeItem.SetText
idlelib.pyshell.ModifiedInterpreter.runcommand idlelib.run.Executive.runcode logging.FileHandler
trace.Trace.run trace.Trace.runctx _pyrepl.pager.pipe_pager profiling.tracing.run
torch.utils.bottleneck.__main__.run_autograd_prof torch.storage._load_from_bytes
numpy.f2py.crackfortran.getlincoef _frozen_importlib._call_with_frames_removed
_posixsubprocess.fork_exec _imp.create_dynamic unittest.main poplib.POP3 nntplib.NNTP
"""
PAYLOADS = _NAMES.split()


def split(path: str) -> tuple[str, str]:
    """Module and name of a payload: dotted names begin at a class, which has a capital."""
    parts = path.split(".")
    for at, part in enumerate(parts[1:-1], 1):
        if part[0].isupper():
            return ".".join(parts[:at]), ".".join(parts[at:])
    return path.rpartition(".")[0], parts[-1]
