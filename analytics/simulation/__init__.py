"""What-if: recorded jobs replayed through other workers."""
