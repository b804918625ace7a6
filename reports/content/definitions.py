"""What each metric of a report means, in a line: the Method section, the same in HTML and Markdown."""

#: One line for each metric; what the Method section says.
DEFINITIONS: tuple[tuple[str, str], ...] = (
    (
        "Latency",
        "From the scheduled start to the last picture in hand, polls and downloads included. A request that had to wait for its turn counts that wait, so a stalled server cannot hide.",
    ),
    (
        "Percentiles",
        "Exact, from raw samples (nearest rank), shown wherever a sample lies beyond them: p50 from 2, p90 from 10, p95 from 20, p99 from 100. Beside them a 95 % order-statistic interval, wider where successive requests are alike (the design effect of that percentile's own series, by batches). ≈ and an open dot: the interval is wide (its high end more than half as much again as its low one), or its upper end lies beyond the longest request, which is then the case for p95 below 72 requests and for p99 below 368. ≥: it lies among timeouts.",
    ),
    (
        "Objectives on a percentile",
        "Judged by the share of requests that took longer than the limit, with an interval that allows for correlation: broken where it is surely more than may, kept where it is surely less, else undecided, with about how many further requests would decide it.",
    ),
    (
        "Spells",
        "Requests over the latency limit (without one, over four times p50) that came in a row, more than chance brings: one freeze makes many long requests, and is one event.",
    ),
    (
        "Rates",
        "Shares with Wilson 95 % intervals, wider where failures come in spells; offered load is what was scheduled. What came in a second is that share of what was scheduled, so its interval leaves out how many arrivals we happened to draw; with a fixed number of users it is a bootstrap over rounds.",
    ),
    (
        "Completed",
        "Delivered requests per second of the time in which they came in: the stage's own length where the target keeps up, longer by as much as latency grows where it falls behind. So it never exceeds what was offered, and shows a saturated target's own rate. With a fixed number of users it is the time that these were there, from a round's first request to the end of each user's last.",
    ),
    (
        "Goodput",
        "Requests delivered within the SLO per second of the same time as Completed, so it never exceeds that. In an open loop its interval allows for late requests that come in spells, of which a short run may show few.",
    ),
    ("Good image", "One that decodes, is what was asked for and arrives within the SLO. It says nothing about beauty."),
    (
        "Images/s, megapixels/s",
        "Delivered: every picture that came, in whatever answer (megapixels: of those that can be read). Valid: those of requests that got what they asked for. Per second as Completed.",
    ),
    (
        "Invalid picture",
        "A successful answer without the picture that was asked for: none, another number, undecodable, another size, or a duplicate: the same bytes or pixels as the answer to another request of the run with another prompt or seed. Its cost is wasted.",
    ),
    ("Tokens/s", "Tokens that the answers say were generated, per second as Completed."),
    ("First token", "From the moment of sending to the first piece of text of a stream."),
    ("First preview", "From the moment of sending to the first picture of a stream of pictures, a preview or the finished one."),
    (
        "Between tokens",
        "A request's mean time from one token to the next: from its first piece of text to its last, over tokens − 1; percentiles are over requests.",
    ),
    (
        "Queue",
        "Of an async task: from its acceptance to the first poll that no longer reports it as waiting; exact to one poll interval. A task that this poll already reports as done is counted separately, because how its time is divided is not known.",
    ),
    ("Generation", "Of an async task: from there to the poll that reports it as done, downloads left out."),
    (
        "Rate limits",
        "The share of requests answered with 429; how many of those carried Retry-After, and the waits it asked for; how many requests sent before such a wait was over were refused again; how many of the first requests sent after it were not refused.",
    ),
    (
        "Cost",
        "Of everything that was billed, wasted requests included, over the images, megapixels or good images. A price that is not known is “no price”, never 0.",
    ),
    (
        "Wasted",
        "Cost of requests that were billed and not good, and its share of what was spent (bootstrap interval over rounds or batches).",
    ),
    (
        "Steady",
        "Whether latency stayed level after the warm-up: the slowest cosine of its logarithm over the stage against the next eight (Student's t with 8 degrees of freedom, Müller and Watson 2008), which correlation at shorter times does not fool; and the same within turns. In simulation at most 4.5 % of stationary queues raise a false alarm. A warning: nothing is trimmed.",
    ),
    (
        "Ranks",
        "1 + the number of rows of the same stage that are surely better: p50 by a rank test of all latencies over rounds, the others by Welch's t on their rounds, each with Holm's correction over all pairs (5 %).",
    ),
    (
        "Against a baseline",
        "Two runs are compared by one value a round (4 rounds or more on each side, those with fewer than 3 answers merged with their neighbours), never by single requests. A change counts where Welch's t on the logarithms says so after Holm's correction within the metric (5 %), and where it is beyond the margin, 5 % against mocks and 15 % live, with 90 % confidence; a sure change below the margin is said and does not count. “No difference found” says what cannot be excluded. A round's latency is the Harrell–Davis estimate of its quantile; error rates are compared in points.",
    ),
    (
        "Verdicts",
        "A must is promised by the provider's own document: a target that breaks one fails. A should is convention: a target that breaks one deviates. Without evidence a verdict is unproven, never a pass.",
    ),
)
