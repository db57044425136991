"""The stream that open pages listen to: names of what changed, as server-sent events. No content, so no secret."""

from collections.abc import Iterator

from flask import Blueprint, Response, make_response, request, stream_with_context
from werkzeug.wrappers import Response as AnyResponse

from fablab.web.context import parts
from fablab.web.live import MAX_OPEN_PAGES_SHARE

blueprint = Blueprint("live", __name__)

BEAT_S = 15.0
LONGEST_BEATS = 40
"""Beats of silence after which a stream ends, so that a page that is long gone gives its thread back."""
MAX_TOPICS = 100


@blueprint.get("/live/events")
def events() -> AnyResponse:
    """`topics`: names like machine-mk3 and job-…, separated by spaces. 204 where too many pages are open: poll then."""
    live = parts().live
    most = max(1, int(parts().config.web.threads * MAX_OPEN_PAGES_SHARE))
    if live.open_pages >= most:
        return make_response("", 204)  # an EventSource that gets 204 does not try again by itself
    wanted = frozenset(request.args.get("topics", "").split()[:MAX_TOPICS])
    answer = Response(stream_with_context(_lines(wanted)), mimetype="text/event-stream")
    answer.headers["X-Accel-Buffering"] = "no"
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _lines(wanted: frozenset[str]) -> Iterator[str]:
    beats = [0]

    def tired() -> bool:
        beats[0] += 1
        return beats[0] > LONGEST_BEATS

    yield "data: everything\n\n"
    for name in parts().live.follow(wanted, BEAT_S, tired):
        if name is None:
            yield "data: beat\n\n"
        else:
            beats[0] = 0
            yield f"data: {name}\n\n"
