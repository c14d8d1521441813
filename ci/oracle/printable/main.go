// Prints the characters that Go's strconv.Quote leaves as they are, as the table in harness/eviction/src/quote/printable.rs.
package main

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

func main() {
	var ranges []string
	first := -1
	for character := utf8.RuneSelf; character <= utf8.MaxRune+1; character++ {
		printable := character <= utf8.MaxRune && strconv.IsPrint(rune(character))
		if printable && first < 0 {
			first = character
		}
		if !printable && first >= 0 {
			ranges = append(ranges, fmt.Sprintf("(%#x, %#x)", first, character-1))
			first = -1
		}
	}
	release := strings.Join(strings.Split(runtime.Version(), ".")[:2], ".")
	fmt.Printf("//! Made by `go run ./ci/oracle/printable` with %s (Unicode %s). Not written by hand.\n\n", release, unicode.Version)
	fmt.Printf("/// First and last of every run of characters beyond ASCII that Go's `strconv.IsPrint` takes for printable.\n")
	fmt.Printf("#[rustfmt::skip]\npub(super) const PRINTABLE: [(u32, u32); %d] = [\n", len(ranges))
	for len(ranges) > 0 {
		line := min(6, len(ranges))
		fmt.Printf("    %s,\n", strings.Join(ranges[:line], ", "))
		ranges = ranges[line:]
	}
	fmt.Println("];")
}
