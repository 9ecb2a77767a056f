"""Checks a message task and sends it."""

from __future__ import annotations

import smtplib
import ssl
import threading
import time

import urllib3

from adapters.net.connections import Connections
from adapters.runners.arguments import decode, need
from adapters.runners.base import BaseRunner
from adapters.runners.message.bots import send_to_bot
from adapters.runners.message.mail import Mail, refusals, words
from adapters.runners.message.task import CATEGORY, WEBHOOKS, MessageArgs
from adapters.runners.message.web import Web
from adapters.runners.message.wechat import TOKENS, WECHAT, TokenCache, WeChat
from domain.errors import InvalidTask, WorkerError
from domain.result import EndReason, Result
from domain.runner import Credential, ExecutionContext


class MessageRunner(BaseRunner):
    """``ca_file`` adds authorities for mail and web; ``wechat`` is the address of that service's API.

    Runs with the same ``tokens`` share access tokens.
    """

    default_timeout = 60.0

    def __init__(self, ca_file: str = "", wechat: str = WECHAT, tokens: TokenCache = TOKENS) -> None:
        super().__init__()
        self._args = MessageArgs()
        self._ca_file = ca_file
        self._wechat = wechat
        self._tokens = tokens
        self._connections = Connections()
        self._done = threading.Event()
        self._outcome: list[Result] = []

    def parse_args(self, command: str, args: str) -> None:
        found = decode(args, MessageArgs)
        need(found.type, "type")
        need(found.credential_id, "credential_id")
        need(found.content, "content")
        if found.type == "email":
            need(found.subject, "subject")
            if not found.to or not all(one.strip() for one in (*found.to, *found.cc, *found.bcc)):
                raise InvalidTask("to is missing or holds an empty address: name at least one recipient")
        elif found.type == "wechat_work":
            if not (found.to_user or found.to_party or found.to_tag):
                raise InvalidTask("one of to_user, to_party and to_tag is needed")
        elif found.type not in WEBHOOKS:
            raise InvalidTask(f"type must be one of {', '.join(CATEGORY)}, not {found.type!r}")
        self._args = found

    def run(self, context: ExecutionContext) -> Result:
        """Send from a thread of its own: what the other side never answers must not keep a stopped task (M3, M6)."""
        self.cancel.subscribe(lambda _: self._interrupt())
        sender = threading.Thread(target=self._send_guarded, args=(context,), name="message", daemon=True)
        sender.start()
        self._done.wait()
        sender.join(1.0)
        return self._outcome[0] if self._outcome else self.cancelled()

    def cleanup(self) -> None:
        self._connections.hang_up()
        self._connections.close()

    def _interrupt(self) -> None:
        self._connections.hang_up()
        self._done.set()

    def _send_guarded(self, context: ExecutionContext) -> None:
        try:
            result = self._guarded_run_of(context)
        except Exception as error:  # noqa: BLE001 - told as this task's end
            result = self.end(EndReason.INTERNAL, error=type(error).__name__)
        if result.end_reason is EndReason.COMPLETED or not self.cancel.requested:
            self._outcome.append(result)
        self._done.set()

    def _guarded_run_of(self, context: ExecutionContext) -> Result:
        args = self._args
        if context.credentials is None:
            return self.end(EndReason.INVALID_TASK, error="credential_id: there is nowhere to get credentials from")
        try:
            credential = context.credentials.credential(args.credential_id)
            if credential.category != CATEGORY[args.type]:
                raise InvalidTask(
                    f"credential_id: {args.type} wants category {CATEGORY[args.type]}, not {credential.category}"
                )
            context.log(f"[Message] {args.type}, {len(args.content)} characters, with {credential.name}\n".encode())
            mentions = args.at_user_ids or args.at_mobiles or args.is_at_all
            if mentions and args.type == "wechat_work_bot" and args.content_type == "markdown":
                context.log(b"[Message] warning: a markdown message of wechat_work_bot mentions nobody\n")
            began = time.monotonic()
            self._send(credential)
        except InvalidTask as error:
            return self.end(EndReason.INVALID_TASK, error=str(error))
        except WorkerError as error:
            return self.end(EndReason.FAILED, error=str(error))
        except (smtplib.SMTPException, OSError, urllib3.exceptions.HTTPError) as error:
            return self.end(EndReason.FAILED, error=_explain(error))
        context.log(f"[Message] sent in {time.monotonic() - began:.1f} s\n".encode())
        return self.end(EndReason.COMPLETED, output=f"{args.type} message sent")

    def _send(self, credential: Credential) -> None:
        limit = min(30.0, self.timeout or 30.0)
        web = Web(self._connections, self._ca_file, limit)
        if self._args.type == "email":
            try:
                Mail(self._args, self._connections, self._ca_file, limit).send(credential)
            finally:
                self._connections.close()
        elif self._args.type == "wechat_work":
            WeChat(self._args, web, self._wechat, self._tokens).send(credential)
        else:
            send_to_bot(self._args, web, credential)


def _explain(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return "the mail server refused user and password"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return f"the mail server refused every recipient: {refusals(error.recipients)}"
    if isinstance(error, smtplib.SMTPNotSupportedError):
        hint = "; a mail server without STARTTLS gets nothing unless the credential has use_tls false"
        return f"{error}{hint if 'STARTTLS' in str(error) else ''}"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"the mail server answered {error.smtp_code} {words(error.smtp_error)}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {getattr(error, 'verify_message', '') or error.reason}"
    if isinstance(error, TimeoutError):
        return "timeout: no answer in time"
    cause = getattr(error, "reason", None)
    if isinstance(cause, Exception) and cause is not error:
        return _explain(cause)
    if isinstance(error, OSError):
        return f"connection failed: {error.strerror or type(error).__name__}"
    return f"connection failed: {type(error).__name__}"
