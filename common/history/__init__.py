"""The history of every job in PostgreSQL, kept long after the job store has deleted it."""

from common.history.database import migrate, open_engine
from common.history.erasure import HistoryErasure
from common.history.reader import HistoryReader
from common.history.writer import Change, HistoryWriter

__all__ = ["Change", "HistoryErasure", "HistoryReader", "HistoryWriter", "migrate", "open_engine"]
