"""The SQL functions that a reader may call.

Theory. An answer is a function of the statement and the height alone, so that another member can ask the same of its
own node and must get the same. So there are no clocks, no random numbers, nothing that reads settings, sequences or
files, and nothing whose value depends on the database's internals. It is a list of what is allowed: a function that a
later DuckDB brings is refused until it is added here.

A function that makes a large value from small ones (``repeat``, ``lpad``, ``format``, a list by ``range``) is not on
the list either: such a value is made in one step, which no limit of time or memory interrupts. ``range`` in a FROM
clause makes rows, and is.

The time of the ledger: ``SELECT max(time) FROM chain.blocks``.
"""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


OPERATORS = _names("""
    + - * / // % ** ^ & | << >> ~ ! && || @ ^@ @> <@ <-> <=> -> ->>
    = != <> < <= > >= ~~ !~~ ~~* !~~* ~~~ like_escape ilike_escape not_like_escape not_ilike_escape
    add subtract multiply divide mod xor
""")

NUMBERS = _names("""
    abs acos acosh asin asinh atan atan2 atanh bit_count cbrt ceil ceiling cos cosh cot degrees even exp factorial
    fdiv floor fmod gamma gcd greatest greatest_common_divisor isfinite isinf isnan lcm least least_common_multiple
    lgamma ln log log10 log2 nextafter pi pow power radians round round_even roundbankers sign signbit sin sinh sqrt
    tan tanh trunc
""")

TEXT = _names("""
    array_extract ascii base64 bin bit_length char_length character_length chr concat concat_ws contains
    damerau_levenshtein editdist3 encode decode ends_with format_bytes formatreadabledecimalsize formatreadablesize
    from_base64 from_binary from_hex hamming hex instr jaccard jaro_similarity jaro_winkler_similarity lcase left
    left_grapheme len length length_grapheme levenshtein lower ltrim md5 mismatches nfc_normalize octet_length ord
    overlay position prefix regexp_escape regexp_extract regexp_extract_all regexp_full_match regexp_matches
    regexp_replace regexp_split_to_array replace reverse right right_grapheme rtrim sha1 sha256 split split_part
    starts_with str_split str_split_regex string_split string_split_regex string_to_array strip_accents strlen
    strpos substr substring substring_grapheme suffix to_base to_base64 to_binary to_hex translate trim ucase unbin
    unhex unicode upper url_decode url_encode
""")

TIMES = _names("""
    century date_add date_diff date_part date_sub date_trunc datediff datepart datesub datetrunc day dayname
    dayofmonth dayofweek dayofyear days_in_month decade epoch epoch_ms epoch_ns epoch_us era hour isodow isoyear
    julian last_day make_date make_time make_timestamp make_timestamp_ms microsecond millennium millisecond minute
    month monthname nanosecond quarter second strftime strptime time_bucket timezone to_centuries to_days to_decades
    to_hours to_microseconds to_millennia to_milliseconds to_minutes to_months to_quarters to_seconds to_weeks
    to_years try_strptime week weekday weekofyear year yearweek
""")

CHOICES = _names("if ifnull nullif typeof pg_typeof switch constant_or_null")

NESTED = _names("""
    array_aggr array_aggregate array_append array_apply array_cat array_concat array_contains array_distinct
    array_filter array_has array_has_all array_has_any array_indexof array_intersect array_length array_pop_back
    array_pop_front array_position array_prepend array_push_back array_push_front array_reduce array_reverse
    array_reverse_sort array_slice array_sort array_to_string array_transform array_unique array_value array_where
    array_zip apply cardinality element_at filter flatten list_aggr list_aggregate list_any_value list_append
    list_apply list_avg list_bool_and list_bool_or list_cat list_concat list_contains list_count list_distinct
    list_element list_extract list_filter list_first list_has list_has_all list_has_any list_indexof list_intersect
    list_last list_max list_median list_min list_mode list_pack list_position list_prepend list_product list_reduce
    list_reverse list_reverse_sort list_select list_slice list_sort list_string_agg list_sum list_transform
    list_unique list_value list_where list_zip map map_concat map_contains map_entries map_extract map_extract_value
    map_from_entries map_keys map_values reduce row struct_concat struct_contains struct_extract struct_extract_at
    struct_has struct_insert struct_keys struct_pack struct_position struct_update struct_values unnest unpivot_list
""")

JSON = _names("""
    array_to_json from_json from_json_strict json json_array json_array_length json_contains json_exists json_extract
    json_extract_path json_extract_path_text json_extract_string json_group_array json_group_object json_keys
    json_merge_patch json_object json_pretty json_quote json_structure json_transform json_transform_strict json_type
    json_valid json_value row_to_json to_json
""")

AGGREGATES = _names("""
    any_value approx_count_distinct arbitrary arg_max arg_max_null arg_min arg_min_null argmax argmin array_agg avg
    bit_and bit_or bit_xor bool_and bool_or corr count count_if count_star countif covar_pop covar_samp entropy favg
    first fsum geomean geometric_mean group_concat histogram kahan_sum kurtosis kurtosis_pop last list listagg mad
    max max_by mean median min min_by mode product quantile quantile_cont quantile_disc regr_avgx regr_avgy
    regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy sem skewness stddev stddev_pop
    stddev_samp string_agg sum sum_no_overflow sumkahan var_pop var_samp variance wavg weighted_avg
""")

WINDOWS = _names("""
    cume_dist dense_rank fill first_value lag last_value lead nth_value ntile percent_rank rank rank_dense row_number
""")

FUNCTIONS = OPERATORS | NUMBERS | TEXT | TIMES | CHOICES | NESTED | JSON | AGGREGATES | WINDOWS
"""Functions and operators allowed in expressions, in lower case."""

TABLE_FUNCTIONS = frozenset({"generate_series", "json_each", "json_tree", "range", "unnest"})
"""Functions allowed in a FROM clause, besides the readings ``contract.table_at(height)``."""

CLOCKS = frozenset({"current_date", "current_localtime", "current_localtimestamp", "current_time", "current_timestamp",
                    "get_current_time", "get_current_timestamp", "localtime", "localtimestamp", "now", "today",
                    "transaction_timestamp"})
"""Names that read a clock, and that a reader is likely to try."""
