"""What Schemathesis does not know by itself: bodies that are an encoded protobuf message."""

import schemathesis

# Bytes that are no message at all are what a stranger would send.
schemathesis.serializer.alias("application/protobuf", "application/octet-stream")


@schemathesis.deserializer("application/protobuf")
def sealed(ctx, response):
    """A report is sealed: the document says no more of it than that it is bytes."""
    return response.content.decode("latin-1")
