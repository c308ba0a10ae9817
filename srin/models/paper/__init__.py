"""The paper's own networks, to the letter: a U-Net with RAIN in its decoder, and BAIN or SRIN between the two halves."""
