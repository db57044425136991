"""Decides who prints where and when. Knows neither sockets nor HTML."""
