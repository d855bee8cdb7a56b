"""What operators type, cleaned into what is stored and what a test takes."""

from providers.forms.gateway import GatewayForm
from providers.forms.language_model import AddModelForm
from providers.forms.provider import ProviderForm
from providers.forms.secret import SEALED

__all__ = ["SEALED", "AddModelForm", "GatewayForm", "ProviderForm"]
