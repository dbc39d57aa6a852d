"""Any Megatron-LM GPT-2 checkpoint in, a verified Hugging Face model out."""
