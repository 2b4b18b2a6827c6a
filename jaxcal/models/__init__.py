"""Parameters to a law, or to a smile."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["complex_math"])
