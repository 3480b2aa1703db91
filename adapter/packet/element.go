package packet

// element returns where the element that begins at or after pos starts and ends in the text of a
// valid array. pos stands behind the bracket or the comma before it.
func element(text []byte, pos int) (start, end int) {
	for space(text[pos]) {
		pos++
	}
	start, depth := pos, 0
	for ; ; pos++ {
		switch text[pos] {
		case '"':
			for pos++; text[pos] != '"'; pos++ {
				if text[pos] == '\\' {
					pos++
				}
			}
		case '[', '{':
			depth++
		case ']', '}':
			if depth == 0 {
				return start, trimmed(text, start, pos)
			}
			depth--
		case ',':
			if depth == 0 {
				return start, trimmed(text, start, pos)
			}
		}
	}
}

func trimmed(text []byte, start, end int) int {
	for end > start && space(text[end-1]) {
		end--
	}
	return end
}
