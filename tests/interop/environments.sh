# What the scripts beside this file have in common; they run it from the top folder of the checkout.
# The virtual environments are kept in .venv-interop/; PYTHON says which Python to use.
export PIP_DISABLE_PIP_VERSION_CHECK=1

if ! command -v redis-server >/dev/null || ! command -v redis-cli >/dev/null; then
    root=$([ "$(id -u)" = 0 ] || echo sudo)
    $root apt-get update -q
    $root apt-get install -q -y --no-install-recommends redis-server redis-tools
fi

if ! [ -d .venv-interop/pip ]; then
    "${PYTHON:-python3}" -m venv .venv-interop/pip
    .venv-interop/pip/bin/python -m pip install -q --no-compile "pip>=25.1"
fi

environment() {  # name, which is that of its dependency group in pyproject.toml
    folder=.venv-interop/$1
    if ! cmp -s pyproject.toml "$folder/pyproject.toml"; then
        "${PYTHON:-python3}" -m venv --clear --without-pip "$folder"
        .venv-interop/pip/bin/python -m pip --python "$folder" install -q --no-compile --group "$1"
        cp pyproject.toml "$folder/"
    fi
}
