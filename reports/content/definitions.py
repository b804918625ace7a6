"""What each metric of a report means, in a line: the Method section, the same in HTML and Markdown."""

#: One line for each metric; what the Method section says.
DEFINITIONS: tuple[tuple[str, str], ...] = (
    (
        "Latency",
        "From the scheduled start to the last picture in hand, polls and downloads included. A request that had to wait for its turn counts that wait, so a stalled server cannot hide.",
    ),
    (
        "Percentiles",
        "Exact, from raw samples, with 95 % order-statistic intervals. They need 6 samples for p50, 72 for p95 and 368 for p99; below that, or where successive samples are so alike that they count as fewer, the report gives the reason instead of a figure.",
    ),
    ("Rates", "Shares with Wilson 95 % intervals; offered load is what was scheduled."),
    (
        "Completed",
        "Delivered requests per second of the time in which they came in: the stage's own length where the target keeps up, longer by as much as latency grows where it falls behind. So it never exceeds what was offered, and shows a saturated target's own rate.",
    ),
    (
        "Goodput",
        "Requests delivered within the SLO per second of the same time as Completed, so it never exceeds that; with a bootstrap interval over rounds or blocks.",
    ),
    ("Good image", "One that decodes, is what was asked for and arrives within the SLO. It says nothing about beauty."),
    (
        "Images/s, megapixels/s",
        "Delivered: every picture that came, in whatever answer (megapixels: of those that can be read). Valid: those of requests that got what they asked for. Per second as Completed, intervals by bootstrap.",
    ),
    (
        "Invalid picture",
        "A successful answer without the picture that was asked for: none, another number, undecodable, another size, or a duplicate: the same bytes or pixels as the answer to another request of the run with another prompt or seed. Its cost is wasted.",
    ),
    ("Tokens/s", "Tokens that the answers say were generated, per second as Completed."),
    ("First token", "From the moment of sending to the first piece of text of a stream."),
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
        "Cost of requests that were billed and not good, and its share of what was spent (bootstrap interval over rounds or blocks).",
    ),
    (
        "Steady",
        "Whether latency stayed level after the warm-up: the slowest cosine of its logarithm over the stage against the next eight (Student's t with 8 degrees of freedom, Müller and Watson 2008), which correlation at shorter times does not fool; and the same within turns. In simulation at most 4.5 % of stationary queues raise a false alarm. A warning: nothing is trimmed.",
    ),
    ("Ranks", "1 + the number of rows of the same stage that are clearly better; overlapping intervals share a rank."),
    (
        "Against a baseline",
        "Two runs are compared by one value a round (8 rounds or more on each side), never by single requests. A change counts where Welch's t on the logarithms says so after Holm's correction within the metric (5 %), and where it is beyond the noise, 5 % against mocks and 15 % live, with 90 % confidence. A round's latency is the Harrell–Davis estimate of its quantile; error rates are compared in points.",
    ),
    (
        "Verdicts",
        "A must is promised by the provider's own document: a target that breaks one fails. A should is convention: a target that breaks one deviates. Without evidence a verdict is unproven, never a pass.",
    ),
)
