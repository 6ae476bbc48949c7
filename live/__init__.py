"""The live bridge: a promoted bundle, bar by bar. It imports the production line of research and nothing below."""
