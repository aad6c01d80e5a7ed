"""Initialises a whole model: a table of decisions first, then its application."""

from isometry.planning.plan import Action, CancelMean, Draw, Keep, Plan, PlanEntry

__all__ = ["Action", "CancelMean", "Draw", "Keep", "Plan", "PlanEntry"]
