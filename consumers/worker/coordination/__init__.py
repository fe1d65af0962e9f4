"""What workers tell each other, and what operators tell them."""
