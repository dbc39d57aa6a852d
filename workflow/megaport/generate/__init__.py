"""From a model directory to text: placement, prompts, engines and what is written of them."""
