"""The pytest plugin; imports nothing until a test asks for a fixture."""
