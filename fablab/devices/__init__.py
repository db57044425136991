"""Talks to machines. Knows neither database nor Flask: an agent runs on a small board with few dependencies."""
