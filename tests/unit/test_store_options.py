"""The store on disk is opened the same way each time: what an earlier opening left in its folder decides nothing."""

from guildbook.state.rocks import BLOCK_CACHE_SIZE_BYTES, RocksStore


def newest_options(folder):
    newest = max(folder.glob("OPTIONS-*"), key=lambda one: int(one.name.partition("-")[2]))
    lines = (line.strip().partition("=") for line in newest.read_text("utf-8").splitlines())
    return {name: value for name, _equals, value in lines}


def test_a_store_that_is_opened_again_has_the_filters_and_the_cache_of_a_new_one(tmp_path):
    seen = []
    for _ in range(3):
        store = RocksStore(tmp_path / "store")
        store.write([(b"Rrow", b"value")])
        assert store._source.property_value("rocksdb.block-cache-capacity") == str(BLOCK_CACHE_SIZE_BYTES)
        seen.append(newest_options(tmp_path / "store"))
        store.close()
    for options in seen:
        assert options["filter_policy"] == "bloomfilter"
        assert options["partition_filters"] == "true"
        assert options["index_type"] == "kTwoLevelIndexSearch"
        assert options["memtable_whole_key_filtering"] == "true"
