-- Readings of a points alliance: each is one SELECT over the views of the ledger, under the name in its first line.
-- "Now" is the time of the last block. Units are points; *_minor are minor units of the programme's currency.

-- name: balances
-- What each member has in each programme: spendable, pending, held, over (awaits expire_due), and what it owes.
WITH ledger AS (SELECT max(time) AS moment FROM chain.blocks),
in_lots AS (
    SELECT member, programme,
        sum(CASE WHEN active_from <= moment AND moment < expires_at THEN units ELSE 0 END) AS spendable,
        sum(CASE WHEN active_from > moment AND moment < expires_at THEN units ELSE 0 END) AS pending,
        sum(held) AS held,
        sum(CASE WHEN expires_at <= moment THEN units ELSE 0 END) AS over
    FROM points.lots, ledger
    GROUP BY member, programme
)
SELECT coalesce(l.member, d.member) AS member, coalesce(l.programme, d.programme) AS programme,
    coalesce(spendable, 0) AS spendable, coalesce(pending, 0) AS pending, coalesce(held, 0) AS held,
    coalesce(over, 0) AS over, coalesce(d.units, 0) AS debt
FROM in_lots AS l FULL JOIN points.debts AS d ON l.member = d.member AND l.programme = d.programme
ORDER BY member, programme;

-- name: outstanding
-- The law of totals for each programme: what the totals leave, and what is in lots; the last two columns are equal.
SELECT t.programme, p.issuer, t.granted, t.issued, t.redeemed, t.expired, t.revoked, t.debt,
    t.issued - t.redeemed - t.expired - t.revoked AS outstanding,
    coalesce((SELECT sum(units + held) FROM points.lots AS l WHERE l.programme = t.programme), 0) AS in_lots
FROM points.totals AS t JOIN points.programmes AS p ON p.id = t.programme
ORDER BY t.programme;

-- name: expiry_calendar
-- Units that will expire, by programme and day (UTC).
SELECT programme, date_trunc('day', expires_at) AS day, sum(units + held) AS units, count(*) AS lots
FROM points.lots
GROUP BY programme, day
ORDER BY programme, day;

-- name: liability_by_vintage
-- Units outstanding by programme and month of issue, and their nominal value, floored.
SELECT l.programme, date_trunc('month', l.issued_at) AS vintage, sum(l.units + l.held) AS units,
    sum((l.units + l.held) * r.nominal_numerator // r.nominal_denominator) AS nominal_minor, any_value(r.currency) AS currency
FROM points.lots AS l JOIN points.profiles AS r ON r.programme = l.programme AND r.version = l.profile
GROUP BY l.programme, vintage
ORDER BY l.programme, vintage;

-- name: breakage_by_vintage
-- Of the units earned in each month, how many expired in the lot that they were earned in.
SELECT i.programme, date_trunc('month', i._time) AS vintage, sum(i.units) AS issued,
    coalesce(sum(e.units), 0) AS expired
FROM points.issued_events AS i
    LEFT JOIN (SELECT lot, sum(units) AS units FROM points.expired_events GROUP BY lot) AS e ON e.lot = i.lot
GROUP BY i.programme, vintage
ORDER BY i.programme, vintage;

-- name: genealogy
-- Every way that units took from lot to lot, in order: transfers, and restored units beside their lot.
SELECT _height AS height, programme, from_lot, to_lot, from_member, to_member, units, expires_at
FROM points.transferred_events
UNION ALL
SELECT _height, programme, original, lot, member, member, units, expires_at
FROM points.restored_events WHERE lot <> original
ORDER BY height, from_lot, to_lot;

-- name: settlement
-- Who owes whom, at redemption prices: all claims so far, net of reversals.
SELECT debtor, creditor, currency, sum(units) AS units, sum(amount_minor) AS amount_minor
FROM points.claim_booked_events
GROUP BY debtor, creditor, currency
ORDER BY debtor, creditor, currency;

-- name: net_positions
-- What each organisation would receive (or pay, negative) if all claims were netted now; the sum is 0 for a currency.
SELECT organisation, currency, sum(amount_minor) AS net_minor
FROM (
    SELECT creditor AS organisation, currency, amount_minor FROM points.claim_booked_events
    UNION ALL
    SELECT debtor, currency, -amount_minor FROM points.claim_booked_events
) AS sides
GROUP BY organisation, currency
ORDER BY organisation, currency;

-- name: partner_statement
-- A merchant's redemptions, one a line.
SELECT merchant, programme, id AS redemption, reference, redeemed_at, units, claim_minor, currency, reversed_at
FROM points.redemptions
ORDER BY merchant, redeemed_at, redemption;

-- name: redemption_rate
-- Redeemed and expired units of each programme, in thousandths of what it issued.
SELECT programme, issued, redeemed * 1000 // greatest(issued, 1) AS redeemed_per_mille,
    expired * 1000 // greatest(issued, 1) AS expired_per_mille
FROM points.totals
ORDER BY programme;

-- name: movements_by_day
-- What a supervisor counts: units issued, redeemed, expired and taken back, by programme and day (UTC).
SELECT programme, date_trunc('day', _time) AS day, sum(issued) AS issued, sum(redeemed) AS redeemed,
    sum(expired) AS expired, sum(revoked) AS revoked
FROM (
    SELECT programme, _time, units AS issued, 0 AS redeemed, 0 AS expired, debt_paid AS revoked FROM points.issued_events
    UNION ALL SELECT programme, _time, 0, units, 0, 0 FROM points.redeemed_events
    UNION ALL SELECT programme, _time, 0, -units, 0, 0 FROM points.restored_events
    UNION ALL SELECT programme, _time, 0, 0, units, 0 FROM points.expired_events
    UNION ALL SELECT programme, _time, 0, 0, 0, taken FROM points.revoked_events
) AS movements
GROUP BY programme, day
ORDER BY programme, day;
