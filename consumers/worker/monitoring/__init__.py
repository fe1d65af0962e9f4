"""What a worker reports of itself: metrics, health, host usage."""
