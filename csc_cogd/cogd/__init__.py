"""Cogradient descent: the rule, in one place for every application, and the problem it is shown on."""
