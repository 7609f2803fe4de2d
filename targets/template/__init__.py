"""What ``chaos init`` writes: a target for a system of one's own, and a plan, which run at once."""
