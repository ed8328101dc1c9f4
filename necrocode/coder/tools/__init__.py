"""The tools that are offered to the model. Import the modules: nothing is imported from here, to stay fast."""
