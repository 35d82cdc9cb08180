"""The intermediate representation: builder, serialisation, text dump and a numpy interpreter. Never imports torch."""
