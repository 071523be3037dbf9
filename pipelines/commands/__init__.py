"""The commands of `elboflow`, by topic. Importing these files imports nothing heavy; calling a command does."""
