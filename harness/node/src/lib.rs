//! What runs inside a Plimsoll node.
