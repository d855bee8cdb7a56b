"""The forms of the pages: they clean what people type, and store it.

Secrets are write-only: no form shows one.
"""

from providers.forms.gateway import GatewayForm
from providers.forms.language_model import AddModelForm
from providers.forms.provider import ProviderForm
from providers.forms.secret import SEALED

__all__ = ["SEALED", "AddModelForm", "GatewayForm", "ProviderForm"]
