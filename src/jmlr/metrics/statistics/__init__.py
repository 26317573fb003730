"""What is said of figures: their intervals, tests of differences, and how far raters agree."""
