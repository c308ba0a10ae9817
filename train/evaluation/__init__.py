"""Scores methods on composites with known truth: data -> methods -> scoring -> summary -> report and figures."""
