-- Readings of supervised funds: each is one SELECT over the views of the ledger, under the name in its first line.
-- "Now" is the time of the last block. *_minor are minor units of the programme's currency. A request that several lines
-- bear counts on each with its part; one that came back in part counts with what did not.

-- name: tree
-- Where the money is: each line with what is free, committed and paid on it, and the same of all lines from it downwards.
WITH RECURSIVE up AS (
    SELECT id AS line, id AS above FROM funds.lines
    UNION ALL
    SELECT u.line, l.parent FROM up AS u JOIN funds.lines AS l ON l.id = u.above WHERE l.parent IS NOT NULL
),
held AS (
    SELECT l.id AS line, f.credits_posted - f.debits_posted AS free, c.credits_posted - c.debits_posted AS committed,
        p.credits_posted - p.debits_posted AS paid
    FROM funds.lines AS l
        JOIN money.accounts AS f ON f.id = 'funds/' || l.id
        JOIN money.accounts AS c ON c.id = 'funds/' || l.id || '/committed'
        JOIN money.accounts AS p ON p.id = 'funds/' || l.id || '/paid'
)
SELECT l.programme, l.depth, l.level, l.id AS line, l.parent, l.organisation, l.purpose, l.status, l.overdue,
    any_value(own.free) AS free_minor, any_value(own.committed) AS committed_minor, any_value(own.paid) AS paid_minor,
    sum(h.free) AS free_below_minor, sum(h.committed) AS committed_below_minor, sum(h.paid) AS paid_below_minor,
    sum(h.free + h.committed + h.paid) AS allocated_minor
FROM funds.lines AS l JOIN held AS own ON own.line = l.id JOIN up AS u ON u.above = l.id JOIN held AS h ON h.line = u.line
GROUP BY l.programme, l.depth, l.level, l.id, l.parent, l.organisation, l.purpose, l.status, l.overdue
ORDER BY l.programme, l.id;

-- name: demand_by_level
-- By level: what was asked for, waits, is committed, was paid and kept, was confirmed by the payee, and has evidence of use.
WITH borne AS (
    SELECT number, stage, line, amount_minor AS amount, amount_minor - returned_minor AS kept
    FROM funds.requests WHERE NOT contains(parts, '},{')
    UNION ALL
    SELECT number, stage, part->>'line', CAST(part->>'amount_minor' AS BIGINT),
        CAST(part->>'amount_minor' AS BIGINT) - CAST(part->>'returned_minor' AS BIGINT)
    FROM (SELECT number, stage, unnest(from_json(parts, '["JSON"]')) AS part FROM funds.requests
          WHERE contains(parts, '},{')) AS shared
),
used AS (SELECT DISTINCT request FROM funds.usages)
SELECT l.programme, l.depth, l.level, count(DISTINCT l.id) AS lines, sum(b.amount) AS demand_minor,
    sum(CASE WHEN b.stage = 'submitted' THEN b.amount ELSE 0 END) AS waiting_minor,
    sum(CASE WHEN b.stage IN ('approved', 'instructed', 'accepted') THEN b.amount ELSE 0 END) AS committed_minor,
    sum(CASE WHEN b.stage IN ('settled', 'confirmed') THEN b.kept ELSE 0 END) AS paid_minor,
    sum(CASE WHEN b.stage = 'confirmed' THEN b.kept ELSE 0 END) AS confirmed_minor,
    sum(CASE WHEN b.stage IN ('settled', 'confirmed') AND u.request IS NOT NULL THEN b.kept ELSE 0 END) AS used_minor
FROM borne AS b JOIN funds.lines AS l ON l.id = b.line LEFT JOIN used AS u ON u.request = b.number
GROUP BY l.programme, l.depth, l.level
ORDER BY l.programme, l.depth, l.level;

-- name: trace_up
-- Each request from the payee up: its file, the bank's entry, and the way from its first line to the root.
WITH RECURSIVE way AS (
    SELECT id AS line, parent, id AS path FROM funds.lines
    UNION ALL
    SELECT w.line, l.parent, w.path || ' < ' || l.id FROM way AS w JOIN funds.lines AS l ON l.id = w.parent
)
SELECT r.programme, r.number AS request, r.kind, r.payee, r.amount_minor, r.returned_minor, r.stage, r.requester,
    r.proposal, r.batch, b.released_by, b.file, r.end_to_end, r.uetr, r.entry_kind, r.entry, w.path
FROM funds.requests AS r JOIN way AS w ON w.line = r.line AND w.parent IS NULL LEFT JOIN funds.batches AS b ON b.id = r.batch
ORDER BY r.number;

-- name: trace_down
-- How money came to each line and left it without being paid: movements and lapses, in order.
SELECT _height AS height, _time AS moved_at, kind, source, target, amount_minor, basis FROM funds.moved_events
UNION ALL
SELECT _height, _time, 'lapse', line, parent, amount_minor, NULL FROM funds.lapsed_events
ORDER BY height, target, source, amount_minor;

-- name: days_idle
-- Requests that are not at an end, by stage: how many, how much, and the days since they came to it.
WITH ledger AS (SELECT max(time) AS moment FROM chain.blocks)
SELECT programme, stage, count(*) AS requests, sum(amount_minor) AS amount_minor,
    max(date_diff('day', stage_at, moment)) AS days_longest,
    quantile_disc(date_diff('day', stage_at, moment), 0.5) AS days_median
FROM funds.requests, ledger
WHERE stage IN ('submitted', 'approved', 'instructed', 'accepted', 'settled')
GROUP BY programme, stage
ORDER BY programme, stage;

-- name: stage_times
-- How long requests stayed in each stage before they left it, in seconds.
WITH entered AS (
    SELECT request, 'submitted' AS stage, _time AS since, _height, _index, _event FROM funds.submitted_events
    UNION ALL
    SELECT request, stage, _time, _height, _index, _event FROM funds.stage_changed_events
),
spent AS (
    SELECT request, stage, since, lead(since) OVER (PARTITION BY request ORDER BY _height, _index, _event) AS left_at FROM entered
)
SELECT r.programme, s.stage, count(*) AS requests, max(date_diff('second', s.since, s.left_at)) AS seconds_longest,
    sum(date_diff('second', s.since, s.left_at)) // count(*) AS seconds_mean
FROM spent AS s JOIN funds.requests AS r ON r.number = s.request
WHERE s.left_at IS NOT NULL
GROUP BY r.programme, s.stage
ORDER BY r.programme, s.stage;

-- name: returned_payments
-- Payments of which something came back, and the bank's last reason.
SELECT r.programme, r.number AS request, r.payee, r.line, r.amount_minor, r.returned_minor, r.stage,
    arg_max(e.reason, e._height) AS reason, max(e._time) AS last_at
FROM funds.requests AS r JOIN funds.money_returned_events AS e ON e.request = r.number
GROUP BY r.programme, r.number, r.payee, r.line, r.amount_minor, r.returned_minor, r.stage
ORDER BY r.number;

-- name: unspent_before_lapse
-- Lines whose time is over in 30 days or less, and what they still have.
WITH ledger AS (SELECT max(time) AS moment FROM chain.blocks)
SELECT l.programme, l.id AS line, l.organisation, l.lapses_at, a.credits_posted - a.debits_posted AS free_minor
FROM funds.lines AS l JOIN money.accounts AS a ON a.id = 'funds/' || l.id, ledger
WHERE l.lapses_at < moment + to_days(30) AND l.parent IS NOT NULL AND a.credits_posted > a.debits_posted
ORDER BY l.programme, l.id;

-- name: unmatched_items
-- What the bank said and nobody knows what to do with: why it waits, and for how many days.
WITH ledger AS (SELECT max(time) AS moment FROM chain.blocks)
SELECT t.programme, i.message, i.position, m.schema, m.message_id, i.kind, i.amount_minor, i.currency, i.code, i.state,
    i.reason, i.reference, date_diff('day', m.taken_at, moment) AS days
FROM messages.items AS i JOIN funds.taken AS t ON t.message = i.message JOIN messages.messages AS m ON m.number = i.message,
    ledger
WHERE i.state IN ('unmatched', 'quarantined')
ORDER BY i.message, i.position;

-- name: shared_accounts
-- Accounts that several payees of a programme have.
SELECT programme, account, count(*) AS payees, string_agg(id, ', ' ORDER BY id) AS names
FROM funds.payees
GROUP BY programme, account
HAVING count(*) > 1
ORDER BY programme, account;

-- name: split_requests
-- Three or more requests of one payee within seven days, each at 80 % or more of an approval limit and below it, and
-- together above it.
WITH limits AS (
    SELECT p.id AS programme, CAST(stage->>'from_minor' AS BIGINT) AS ceiling
    FROM funds.programmes AS p,
        (SELECT owner, name, unnest(from_json(stages, '["JSON"]')) AS stage
         FROM (SELECT owner, name, arg_max(stages, version) AS stages FROM approvals.policies
               WHERE state = 'in_force' GROUP BY owner, name)) AS s
    WHERE s.owner = p.authority AND s.name = p.request_policy AND CAST(stage->>'from_minor' AS BIGINT) > 0
),
near AS (
    SELECT r.programme, r.payee, r.number, r.submitted_at, r.amount_minor, l.ceiling,
        count(*) OVER span AS requests, sum(r.amount_minor) OVER span AS together_minor
    FROM funds.requests AS r JOIN limits AS l ON l.programme = r.programme
    WHERE r.amount_minor < l.ceiling AND r.amount_minor * 10 >= l.ceiling * 8
    WINDOW span AS (PARTITION BY r.programme, r.payee, l.ceiling ORDER BY r.submitted_at
                    RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND CURRENT ROW)
)
SELECT programme, payee, ceiling AS limit_minor, max(requests) AS requests, max(together_minor) AS together_minor,
    max(number) AS last_request
FROM near
WHERE requests >= 3 AND together_minor > ceiling
GROUP BY programme, payee, ceiling
ORDER BY programme, payee, ceiling;

-- name: year_end_burst
-- What was paid in each month (UTC), and its share of the programme's year in thousandths.
WITH paid AS (
    SELECT r.programme, date_trunc('month', e._time) AS month, sum(r.amount_minor) AS paid_minor, count(*) AS payments
    FROM funds.stage_changed_events AS e JOIN funds.requests AS r ON r.number = e.request
    WHERE e.stage = 'settled'
    GROUP BY r.programme, month
)
SELECT programme, month, payments, paid_minor,
    paid_minor * 1000 // sum(paid_minor) OVER (PARTITION BY programme, date_trunc('year', month)) AS per_mille_of_year
FROM paid
ORDER BY programme, month;

-- name: rubber_stamps
-- Stages of approval that a request left within a minute of entering them.
SELECT r.programme, r.number AS request, s.stage, r.amount_minor, date_diff('second', s.entered_at, s.left_at) AS seconds,
    (SELECT string_agg(a.party, ', ' ORDER BY a.party) FROM approvals.acts AS a
     WHERE a.proposal = s.proposal AND a.stage = s.stage AND a.kind = 'approval') AS approvers
FROM approvals.steps AS s JOIN funds.requests AS r ON r.proposal = s.proposal
WHERE s.left_at < s.entered_at + to_minutes(1)
    AND EXISTS (SELECT 1 FROM approvals.acts AS a
                WHERE a.proposal = s.proposal AND a.stage = s.stage AND a.kind = 'approval')
ORDER BY r.number, s.place;

-- name: own_interest
-- Payments to somebody who asked for them, or who has the same account as a payee whose controller had a part in them.
SELECT r.programme, r.number AS request, r.payee, p.controller, r.requester, r.amount_minor, r.stage
FROM funds.requests AS r JOIN funds.payees AS p ON p.id = r.payee
WHERE p.controller = r.requester
    OR EXISTS (SELECT 1 FROM funds.payees AS o JOIN approvals.acts AS a ON a.party = o.controller
               WHERE o.programme = p.programme AND o.account = p.account AND a.proposal = r.proposal
                   AND a.kind IN ('proposal', 'approval'))
ORDER BY r.number;

-- name: invoices_reused
-- Invoices that several requests name, or a request for another payee than the one they were registered for.
SELECT r.programme, r.invoice, d.issuer, count(*) AS requests, count(DISTINCT r.line) AS lines,
    sum(CASE WHEN r.payee <> d.issuer THEN 1 ELSE 0 END) AS for_others, sum(r.gross_minor) AS gross_minor
FROM funds.requests AS r JOIN documents.documents AS d ON d.id = r.invoice
GROUP BY r.programme, r.invoice, d.issuer
HAVING count(*) > 1 OR sum(CASE WHEN r.payee <> d.issuer THEN 1 ELSE 0 END) > 0
ORDER BY r.programme, r.invoice;

-- name: emergencies
-- What was paid first and is not approved: by when it must be, and whether it suspends its lines.
SELECT programme, number AS request, payee, line, amount_minor, requester, stage, regularise_by, overdue
FROM funds.requests
WHERE regularise_by IS NOT NULL AND NOT approved
    AND stage IN ('submitted', 'approved', 'instructed', 'accepted', 'settled', 'confirmed')
ORDER BY regularise_by, number;

-- name: receipts_missing
-- Payments that nobody confirmed in fourteen days: whom to visit.
WITH ledger AS (SELECT max(time) AS moment FROM chain.blocks)
SELECT r.programme, r.number AS request, r.payee, r.line, r.amount_minor, date_diff('day', r.stage_at, moment) AS days
FROM funds.requests AS r, ledger
WHERE r.stage = 'settled' AND r.stage_at + to_days(14) <= moment
ORDER BY r.number;

-- name: complaints
-- Receipts that say less came than was paid, or that complain.
SELECT programme, number AS request, payee, amount_minor, confirmed_minor, complaint
FROM funds.requests
WHERE stage = 'confirmed' AND (complaint IS NOT NULL OR confirmed_minor < amount_minor)
ORDER BY number;
