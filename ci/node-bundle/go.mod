module plimsoll.dev/node-bundle

go 1.26.0
