package directory

import "errors"

// SourceMemory is a place in a Store for one opaque value of a Source: what it must remember from one process to the next,
// and can learn again when the store is lost.
type SourceMemory struct {
	Store Store
	// Name is that of the Source.
	Name string
}

// maxMemory bounds the value, in bytes.
const maxMemory = 256 << 10

// Load returns the value last saved, nil when there is none.
func (m SourceMemory) Load() (value []byte, err error) {
	err = m.Store.View(func(tx Tx) (err error) {
		value, err = tx.State("source/" + m.Name)
		return err
	})
	return value, err
}

// Save keeps a value, of at most 256 KiB.
func (m SourceMemory) Save(value []byte) error {
	if len(value) > maxMemory {
		return errors.New("what a source remembers is longer than 256 KiB")
	}
	return m.Store.Update(func(tx Tx) error { return tx.SetState("source/"+m.Name, value) })
}
