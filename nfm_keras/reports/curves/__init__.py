"""Figures of aggregates: over severities, corruptions, epochs and settings."""
