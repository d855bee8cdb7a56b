"""The database rows: providers, their routes and models, every attempt, and the audit log.

Everything above may import them from here; a row imports `infra`, `policy`, `vendors`, `domain`.
"""

from providers.models.attempt import SYNTHETIC, Attempt, Purpose
from providers.models.audit import AuditEvent
from providers.models.breaker import Breaker, breaker_columns, domain_columns
from providers.models.bulk import add_key_costs, append_once, rewrite
from providers.models.flag import FlagSetting, read_flags
from providers.models.gateway import Gateway, GatewayCheck
from providers.models.key_spend import KeySpend
from providers.models.language_model import LanguageModel, ModelKind, ModelSource
from providers.models.model_alias import ModelAlias
from providers.models.preferences import (
    BulkChange,
    CatalogueVisit,
    Favourite,
    ParameterPreset,
)
from providers.models.provider import (
    HealthStatus,
    Provider,
    ProviderType,
    ReasoningTags,
    RoutingMethod,
)
from providers.models.route import FORGOTTEN, Route, route_columns
from providers.models.virtual_model import VirtualMember, VirtualModel, find_name_owner

__all__ = [
    "FORGOTTEN",
    "SYNTHETIC",
    "Attempt",
    "AuditEvent",
    "Breaker",
    "BulkChange",
    "CatalogueVisit",
    "Favourite",
    "FlagSetting",
    "Gateway",
    "GatewayCheck",
    "HealthStatus",
    "KeySpend",
    "LanguageModel",
    "ModelAlias",
    "ModelKind",
    "ModelSource",
    "ParameterPreset",
    "Provider",
    "ProviderType",
    "Purpose",
    "ReasoningTags",
    "Route",
    "RoutingMethod",
    "VirtualMember",
    "VirtualModel",
    "add_key_costs",
    "append_once",
    "breaker_columns",
    "domain_columns",
    "find_name_owner",
    "read_flags",
    "rewrite",
    "route_columns",
]
