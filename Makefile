# Two commands matter: `make demo` and `make test`. Each installs what it needs.
.PHONY: demo test soak lint quick environment test-environment clean
BIN := .venv/bin

demo: environment
	@FABLAB_PARENT=$$PPID exec $(BIN)/fablab demo --dir demo $(DEMO)

test: test-environment lint
	$(BIN)/python -m pytest -m "not soak" $(PYTEST)

soak: test-environment lint
	FABLAB_SOAK=1 $(BIN)/python -m pytest --timeout 7200 $(PYTEST)

# What a change needs within seconds: no service, no browser.
quick: test-environment
	$(BIN)/python -m pytest tests/unit tests/transcripts $(PYTEST)

lint: test-environment
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

environment:
	@sh deploy/setup/environment.sh

test-environment:
	@sh deploy/setup/packages.sh mosquitto chromium fonts-dejavu-core postgresql gcc libc6-dev
	@sh deploy/setup/environment.sh test
	@sh tests/setup/octoprint_env.sh

clean:
	rm -rf .venv .octoprint build .mypy_cache .ruff_cache .pytest_cache .hypothesis
