"""Which names a pickle may mention: those of data. Nothing is ever imported, whatever the answer.

The whole standard library is forbidden but for its data classes, and so are torch and NumPy but
for theirs; the packages of Megatron, DeepSpeed and their forks are inert.
"""

import re
import sys

from megaport.checkpoint.records import Name, forbidden


def _words(text: str, prefix: str = "") -> frozenset[str]:
    return frozenset(prefix + word for word in text.split())


# Modules that other versions of Python and NumPy call otherwise; then what only other Pythons have.
RENAMED = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "numpy._core": "numpy.core",
    "pathlib._local": "pathlib",  # what Python 3.13 writes of every path
}
FORMER = _words(
    """
    _winreg anydbm asynchat asyncore cPickle cStringIO commands compiler dbhash distutils
    dummy_thread dumbdbm exceptions gdbm httplib idlelib imp imputil lib2to3 md5 mhlib mimetools
    multifile new nt os2 pipes popen2 posixfile rexec sgmllib sha smtpd SimpleHTTPServer
    SocketServer statvfs test thread urllib2 urlparse xmlrpclib
    _bootsubprocess _crypt _msi _sha256 _sha512 aifc audioop cgi cgitb chunk crypt imghdr mailcap
    msilib nis nntplib ossaudiodev sndhdr spwd sunau telnetlib uu xdrlib
    """
)
_LATER = _words(
    """
    __builtins__ _android_support _apple_support _ast_unparse _colorize _hmac _interpchannels
    _interpqueues _interpreters _ios_support _opcode_metadata _py_warnings _pydatetime _pylong
    _pyrepl _remote_debugging _sha2 _suggestions _sysconfig _types _wmi _zstd annotationlib
    compression profiling
    """
)
STANDARD_LIBRARY = sys.stdlib_module_names | FORMER | _LATER

# Packages whose functions run commands, open connections or load code; picklescan and fickling
# name most of them. No checkpoint has a reason to mention any.
DANGEROUS_PACKAGES = _words(
    """
    IPython Pyro4 aiohttp boto3 botocore cffi cloudpickle cupy cython dask dill distlib execnet
    fabric fsspec gevent httpx invoke ipykernel jax joblib keras llvmlite numba numexpr onnx
    pandas paramiko pexpect pip pipx pkg_resources plumbum polars psutil ptyprocess pywin32
    pythoncom ray requests rpyc scapy scipy setuptools sh sklearn smart_open sympy tensorflow
    tornado twisted urllib3 uv virtualenv websocket websockets wheel win32api win32com
    win32process yaml zmq
    """
)

# Names no data class has, wherever they claim to live (picklescan's and fickling's lists).
DANGEROUS_NAMES = _words(
    """
    __import__ apply attrgetter breakpoint check_call check_output compile delattr eval exec
    execfile execv execve fork getattr getoutput getstatusoutput globals import_module itemgetter
    load load_module loads locals methodcaller open popen Popen read_pickle remove rmdir rmtree
    run run_code run_module run_path runcode runcommand runsource runstring setattr spawn
    startfile system unlink vars
    """
)

# Standard classes and constructors whose arguments are plain data.
STANDARD_DATA = (
    _words("bool bytearray bytes complex dict float frozenset int list long", "builtins.")
    | _words("object range set slice str tuple unicode", "builtins.")
    | _words("Counter OrderedDict defaultdict deque", "collections.")
    | _words("date datetime time timedelta timezone", "datetime.")
    | _words("Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath", "pathlib.")
    | _words("__newobj__ _reconstructor", "copyreg.")
    | _words("_codecs.encode _io.BytesIO _io.StringIO io.BytesIO io.StringIO")
    | _words("argparse.Namespace types.SimpleNamespace signal.Signals signal.Handlers")
    | _words("decimal.Decimal fractions.Fraction uuid.UUID")
)

NUMPY_DATA = (
    _words("ndarray dtype bool bool_ str_ float16 float32 float64", "numpy.")
    | _words("int8 int16 int32 int64 uint8 uint16 uint32 uint64", "numpy.")
    | _words("multiarray._reconstruct multiarray.scalar numeric._frombuffer", "numpy.core.")
    | _words("__bit_generator_ctor __generator_ctor __randomstate_ctor", "numpy.random._pickle.")
    | _words("__RandomState_ctor __randomstate_ctor", "numpy.random.")
)

# torch functions a pickle may call; what they are called with becomes a Tensor or stays inert.
TORCH_CALLS = (
    _words("tensor tensor_v2 tensor_v3 parameter parameter_with_state", "torch._utils._rebuild_")
    | _words("sparse_tensor sparse_csr_tensor nested_tensor qtensor", "torch._utils._rebuild_")
    | _words("meta_tensor_no_storage wrapper_subclass xla_tensor", "torch._utils._rebuild_")
    | _words("device_tensor_from_cpu_tensor device_tensor_from_numpy", "torch._utils._rebuild_")
    | _words("torch._tensor._rebuild_from_type torch._tensor._rebuild_from_type_v2 torch.device")
    | _words("torch.serialization._get_layout torch.jit._pickle.build_intlist")
)

_CLASS = re.compile(r"_*[A-Z]\w*\Z", re.ASCII)
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\Z", re.ASCII)
_LONGEST = 300


def refer(where: str, module: str, name: str) -> Name:
    """The inert name that a pickle's `module` and `name` give.

    `ForbiddenGlobalError` when they name code.
    """
    if len(module) + len(name) > _LONGEST or not _NAME.match(module) or not _NAME.match(name):
        raise forbidden(where, f"{module[:80]}.{name[:80]}")
    module = _canonical(module)
    if not _harmless(module, name):
        raise forbidden(where, f"{module}.{name}")
    return Name(f"{module}.{name}")


def may_be_called(mentioned: Name) -> bool:
    """False for torch functions that are not constructors of data: those may only be mentioned."""
    root, _, _ = mentioned.name.partition(".")
    last = mentioned.name.rpartition(".")[2]
    return root != "torch" or mentioned.name in TORCH_CALLS or _CLASS.match(last) is not None


def _canonical(module: str) -> str:
    for old, new in RENAMED.items():
        if module == old or module.startswith(f"{old}."):
            return new + module[len(old) :]
    return module


def _harmless(module: str, name: str) -> bool:
    root, path = module.partition(".")[0], f"{module}.{name}"
    if root in STANDARD_LIBRARY:
        return path in STANDARD_DATA
    if root == "numpy":
        return path in NUMPY_DATA or (_has_data_classes(module) and _is_class(name))
    if root in DANGEROUS_PACKAGES or DANGEROUS_NAMES.intersection(name.split(".")):
        return False
    # A dotted name reaches into a module's or a class's attributes; nested classes do so too.
    return "." not in name or all(map(_is_class, name.split(".")))


def _has_data_classes(module: str) -> bool:
    """NumPy's dtype classes and random generators, whose states Megatron may save."""
    return module == "numpy.dtypes" or module.startswith("numpy.random.")


def _is_class(name: str) -> bool:
    return _CLASS.match(name) is not None
