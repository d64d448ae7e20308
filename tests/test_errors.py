from segearth.errors import called_as, option, program


def test_options_are_named_as_the_caller_writes_them():
    assert option("long_side", 448) == "long_side=448"
    assert option("model", "tiny") == 'model="tiny"'
    assert program() is None
    with called_as("segearth predict"):
        assert option("long_side", 448) == "--long-side 448"
        assert option("model", "tiny") == "--model tiny"
        assert option("device") == "--device"
        assert program() == "segearth predict"
    assert option("device") == "device"
