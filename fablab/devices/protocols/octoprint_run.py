"""The life of one run at OctoPrint: upload, the one order to print, progress, pause, cancel, and how it ended.

The order to print leaves once and is never repeated: where its answer stays away, OctoPrint's job and its record of
the file are read until they tell, else a person is asked. Pause and cancel are repeated until they are seen to work.
"""

from collections.abc import Collection, Iterator, Sequence

from fablab.devices.protocols.contract import (
    Began,
    Cancel,
    Event,
    HeldStill,
    HttpAnswer,
    Pause,
    Progressed,
    Refused,
    Resume,
    RunEnded,
    StartUnknown,
    Upload,
    WentOn,
)
from fablab.devices.protocols.octoprint_reading import NEXT, Marks, Phase, Seen, Sight, Verdict, sight, verdict
from fablab.devices.protocols.octoprint_talk import Talk, file_url, link_code

RETRY_UPLOAD = 2.0  # seconds
UPLOAD_TRIES = 3
UPLOAD_SECONDS = 120.0  # for OctoPrint to store the file after its last byte
START_SECONDS = 20.0  # until an obeyed order to print must show
RECORD_TRIES = 10  # OctoPrint writes its record of a print a moment after the end
REPEAT_SECONDS = 3.0  # between two cancels or pauses that have not shown

ALIVE = (Phase.RUNNING, Phase.PAUSED)


class RunLife:
    """One run of ours; `ended` once its RunEnded was given out."""

    def __init__(self, talk: Talk, run: str, marks: Marks, path: str | None) -> None:
        """`path` is the file to upload, None for a run that is going on already."""
        self.run = run
        self.file = f"{run}.gcode"
        self.phase = Phase.ADOPTING if path is None else Phase.UPLOADING
        self.ended = False
        self.began = False
        self._emergency = False
        self.next_upload: float | None = None
        self._talk = talk
        self._marks = marks
        self._path = path
        self._uploads = 0
        self._started_at = 0.0
        self._start_refused = False  # OctoPrint said no: nothing can have started
        self._cancelled = False
        self._pausing = False  # we asked
        self._told_paused = False
        self._repeat_at = 0.0
        self._looks_at_record = 0
        self._record: HttpAnswer | None = None
        self._trouble: HttpAnswer | None = None
        if path is not None:
            self.upload()

    @property
    def hurried(self) -> bool:
        """Something should show within moments: look often."""
        return self._cancelled or self._pausing or self.phase in (Phase.STARTING, Phase.ADOPTING, Phase.RESOLVING)

    # ------------------------------------------------------------ until it began

    def upload(self) -> None:
        """Send the file; harmless to repeat, since nothing moves by an upload."""
        assert self._path is not None  # noqa: S101  (only runs of our own are uploaded)
        self.next_upload = None
        self._uploads += 1
        upload = Upload(self._path, self.file)
        self._talk.send("upload", "POST", "/api/files/local", upload=upload, lane="upload", timeout=UPLOAD_SECONDS)

    def link_renewed(self) -> None:
        """An upload that was under way is of nobody's knowledge now; everything else is found out by looking."""
        if self.phase is Phase.UPLOADING:
            self.next_upload = self._talk.now

    def uploaded(self, answer: HttpAnswer) -> Sequence[Event]:
        """Go on to the order to print, once."""
        if self.phase is not Phase.UPLOADING:
            return ()
        if answer.status == 201:
            if _uploaded_path(answer) != self.file:
                return self.end(Verdict("failed", "upload_renamed"))
            self.phase, self._started_at = Phase.STARTING, self._talk.now
            order = {"command": "select", "print": True}
            self._talk.send("start", "POST", file_url(self.file), order, timeout=START_SECONDS)
            return ()
        if answer.error == "no_file":
            return self.end(Verdict("failed", "file_missing"))
        if (answer.status == 0 or answer.status >= 500) and self._uploads < UPLOAD_TRIES:
            self.next_upload = self._talk.now + RETRY_UPLOAD
            return ()
        return self.end(Verdict("failed", link_code(answer) if answer.status in (0, 403) else "upload_refused"))

    def start_answered(self, answer: HttpAnswer) -> Sequence[Event]:
        """204 says only that the order was taken; an answer that stays away says nothing at all. Look, never repeat."""
        if self.phase is not Phase.STARTING:
            return ()
        if answer.error in ("unreachable", "dropped"):
            return self.end(Verdict("failed", "octoprint_unreachable"))
        self._start_refused = 400 <= answer.status < 500
        if self._start_refused:
            self._resolve()
        self._talk.look_soon()
        return ()

    # ------------------------------------------------------------ while it goes on

    def follow(self, seen: Seen) -> Sequence[Event]:
        """Apply one look."""
        now_seen = sight(seen, self.file)
        if seen.file == self.file and seen.filepos is not None and self.phase is not Phase.UPLOADING:
            self._marks.up_to(seen.filepos)
        self.phase = NEXT.get((self.phase, now_seen), self.phase)
        if self.phase in ALIVE:
            return list(self._alive(seen, now_seen))
        if self.phase is Phase.RESOLVING:
            if now_seen is Sight.DONE:
                return (*self._begin(), *self.end(Verdict("succeeded")))
            self._ask_record()
        elif self.phase is Phase.STARTING and self._talk.now - self._started_at > START_SECONDS:
            self._resolve()
        return ()

    def _alive(self, seen: Seen, now_seen: Sight) -> Iterator[Event]:
        self._looks_at_record = 0
        yield from self._begin()
        sent, accepted = self._marks.sent, self._marks.accepted
        yield Progressed(sent, accepted, fraction=seen.fraction, remaining_s=seen.remaining_s)
        if now_seen is Sight.PAUSED and not self._told_paused:
            by = "host" if self._pausing else "machine"
            self._told_paused, self._pausing = True, False
            yield HeldStill(by=by)
        elif now_seen is Sight.PRINTING and self._told_paused:
            self._told_paused = False
            yield WentOn()
        if self._talk.now >= self._repeat_at:
            if self._cancelled and now_seen is not Sight.CANCELLING:
                self._order("cancel")
            elif self._pausing and now_seen is Sight.PRINTING and not seen.pausing:
                self._order("pause", "pause")

    def _begin(self) -> Sequence[Event]:
        if self.began:
            return ()
        self.began = True
        return (Began(self.run),)

    def steer(self, intent: Pause | Resume | Cancel) -> Sequence[Event]:
        """Pause, resume or cancel. Raises Refused("not_paused")."""
        if isinstance(intent, Cancel):
            self._cancelled = True
            if self.phase in (Phase.UPLOADING, Phase.DOUBTFUL):
                return self.end(Verdict("stopped", "cancelled"))
            if self.phase in ALIVE:  # else as soon as it shows: another's job is never cancelled
                self._order("cancel")
        elif isinstance(intent, Pause):
            self._pausing = not self._told_paused
            if self.phase is Phase.RUNNING:
                self._order("pause", "pause")
        else:
            if self.phase is not Phase.PAUSED:
                raise Refused("not_paused")
            self._pausing = False
            self._order("pause", "resume")
        self._talk.look_soon()
        return ()

    def stop_now(self, unsent: Collection[str]) -> Sequence[Event]:
        """An emergency stop was given; `unsent` names requests that never left. Nothing starts after this."""
        self._emergency = self._cancelled = True
        if self.phase is Phase.UPLOADING or "start" in unsent:
            return self.end(Verdict("stopped"))
        return ()

    def _order(self, command: str, action: str = "") -> None:
        """`pause` always says which way: without `action` OctoPrint would toggle."""
        body = {"command": command} | ({"action": action} if action else {})
        self._repeat_at = self._talk.now + REPEAT_SECONDS
        self._talk.send(action or command, "POST", "/api/job", body)

    # ------------------------------------------------------------ how it ended

    def _resolve(self) -> None:
        self.phase = Phase.RESOLVING
        self._ask_record()

    def _ask_record(self) -> None:
        if not self._talk.waits_for("record", "trouble"):
            self._record = self._trouble = None
            self._talk.send("record", "GET", file_url(self.file))
            self._talk.send("trouble", "GET", "/api/printer/error")

    def recorded(self, what: str, answer: HttpAnswer) -> Sequence[Event]:
        """OctoPrint's record of the file, or what it knows of the last error, has come."""
        if self.phase is not Phase.RESOLVING:
            return ()
        if what == "record":
            self._record = answer
        else:
            self._trouble = answer
        if self._record is None or self._trouble is None or self._record.status == 0:
            return ()
        judged = verdict(self._record, self._trouble, self._talk.seen, cancelled=self._cancelled)
        if judged is not None:
            return (*self._begin(), *self.end(judged))
        self._looks_at_record += 1
        return self._without_record() if self._looks_at_record >= RECORD_TRIES else ()

    def _without_record(self) -> Sequence[Event]:
        """OctoPrint has written nothing: it never printed the file, or did not live to write."""
        if self._start_refused:
            return self.end(Verdict("failed", "machine_busy" if self._talk.foreign else "start_refused"))
        if self.began:
            return self.end(Verdict("failed", "print_vanished"))
        if self._cancelled:
            return self.end(Verdict("stopped", "cancelled"))
        self.phase = Phase.DOUBTFUL
        return (StartUnknown(self.run, "print_vanished" if self._path is None else "start_unanswered"),)

    def end(self, judged: Verdict) -> Sequence[Event]:
        """The attempt is over."""
        self.ended = True
        accepted, result, code = self._marks.accepted, judged.result, judged.code
        if result == "succeeded":
            accepted = max(self._marks.total, accepted)
        elif self._emergency:
            result, code = "stopped", "emergency_stop"
        elif self._cancelled and self.began:
            self._talk.heaters_off()  # OctoPrint's own script does it, unless somebody emptied that
        self._talk.look_soon()
        return (RunEnded(self.run, result, accepted, code),)


def _uploaded_path(answer: HttpAnswer) -> str:
    """OctoPrint may have tidied the name; ours has nothing to tidy, so another one means another file."""
    files = answer.json.get("files") if isinstance(answer.json, dict) else None
    local = files.get("local") if isinstance(files, dict) else None
    return str(local.get("path", "")) if isinstance(local, dict) else ""
