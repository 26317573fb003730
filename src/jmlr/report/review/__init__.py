"""The blinded review kit: pages on which medical professionals compare two systems' answers, and what their files say together."""
