"""Builds the authentication policy that the settings choose, and refuses contradictions."""

from __future__ import annotations

from gateway_metrics_mcp.auth.policies import (
    AuthPolicy,
    GatewayTokenPolicy,
    OpenPolicy,
    TokenFilePolicy,
)
from gateway_metrics_mcp.auth.tokens import OperatorFile, read_tokens
from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.query import LOCAL
from gateway_metrics_mcp.runtime.network import is_loopback
from gateway_metrics_mcp.settings import Settings, flag_of


def build_policy(settings: Settings) -> AuthPolicy:
    """The policy for these settings.

    Raises:
        SettingsError: if they contradict each other, would admit anyone on the network, or name
            an invalid file.
    """
    _check_choice(settings)
    if settings.oauth_issuer is not None:
        from gateway_metrics_mcp.auth.oauth import OAuthPolicy  # imports httpx and jwt

        return OAuthPolicy(settings)
    if settings.is_remote:
        return _open_remote(settings)
    if settings.tokens is not None:
        return TokenFilePolicy(OperatorFile(settings.tokens, read_tokens, "tokens"))
    if settings.backend is None:  # no data to protect; each call says which setting is missing
        return OpenPolicy()
    if not is_loopback(settings.host):
        raise SettingsError(
            f"listening on {settings.host} needs --tokens: otherwise anyone could query"
        )
    return OpenPolicy("no --tokens: every caller is a tenant admin")


def _open_remote(settings: Settings) -> AuthPolicy:
    if settings.auth_token_file is not None:
        if settings.token is None:
            raise SettingsError("--shared-token needs a gateway token to share: set TFY_API_KEY")
        notice = (
            "--shared-token: everyone in --auth-token-file asks with this server's gateway token"
            " and sees all that it may see"
        )
        file = OperatorFile(settings.auth_token_file, read_tokens, "tokens")
        return TokenFilePolicy(file, shared=LOCAL, notice=notice)
    return GatewayTokenPolicy(takes_bearer=settings.accept_gateway_bearer)


def _check_choice(settings: Settings) -> None:
    """Refuse settings that conflict with each other or with the backend."""
    oauth = ("oauth_issuer", "oauth_audience", "oauth_subjects")
    missing = [name for name in oauth if getattr(settings, name) is None]
    has_oauth = len(missing) < len(oauth) or bool(settings.oauth_scope)
    if has_oauth and missing:
        raise SettingsError(f"OAuth needs {' and '.join(map(flag_of, missing))} as well")
    if settings.shared_token != (settings.auth_token_file is not None):
        raise SettingsError(
            "--shared-token and --auth-token-file go together: who asks with this server's gateway"
            " token must send a token of their own, made by `gateway-metrics-mcp token`"
        )
    ways = [
        name
        for name, is_chosen in (
            ("oauth_issuer", has_oauth),
            ("shared_token", settings.shared_token),
            ("accept_gateway_bearer", settings.accept_gateway_bearer),
            ("tokens", settings.tokens is not None),
        )
        if is_chosen
    ]
    if len(ways) > 1:
        chosen = " and ".join(map(flag_of, ways))
        raise SettingsError(f"{chosen} are alternative ways to authenticate callers: choose one")
    wrong = {"tokens"} if settings.is_remote else {"shared_token", "accept_gateway_bearer"}
    if settings.backend is not None and (unfit := wrong.intersection(ways)):
        kind = "an engine" if settings.is_remote else "a remote gateway"
        raise SettingsError(f"{flag_of(unfit.pop())} is for {kind}, which --backend is not")
