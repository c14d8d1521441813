module plimsoll.dev/loop-mount

go 1.26.0

require (
	github.com/diskfs/go-diskfs v1.9.4
	golang.org/x/sys v0.49.0
)

require github.com/google/uuid v1.6.0 // indirect
