"""What is tested: fault plans and the invariants they draw from, a folder per scenario family."""
