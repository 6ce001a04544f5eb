"""The long runs behind the charts: ``Config`` in, ``run()``, tables out; ``load()`` reads the committed run."""
