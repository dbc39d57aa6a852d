"""From a Megatron checkpoint to a GPT-2 model directory, and back."""
