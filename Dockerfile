# The web page and the JSON API, with the bundled model.
#
#   make wheel
#   docker build -t birdembed .
#   docker run --rm -p 127.0.0.1:8000:8000 birdembed
#
# To search your own photos (docs/guide/serving.md):
#
#   docker run --rm -p 127.0.0.1:8000:8000 -v "$PWD/birds:/data:ro" birdembed \
#       serve --host 0.0.0.0 --index /data/birds.index --photos /data/photos

FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1
ENV PIP_NO_CACHE_DIR=1
ENV PIP_ROOT_USER_ACTION=ignore
ENV BIRDEMBED_CACHE=/opt/birdembed

# This needs no compiler: the wheel contains oneDNN and OpenMP, and all dependencies are wheels too.
COPY dist/*.whl /tmp/wheel/
RUN pip install --only-binary :all: "$(ls /tmp/wheel/birdembed-*.whl)[serve]"
RUN rm -r /tmp/wheel

# The model is part of the wheel.
RUN birdembed info --check birds477

RUN useradd --uid 10001 --no-create-home --home-dir /opt/birdembed --shell /usr/sbin/nologin birdembed
RUN mkdir -p /opt/birdembed
RUN chown -R birdembed:birdembed /opt/birdembed
USER birdembed
WORKDIR /opt/birdembed

EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["birdembed"]
CMD ["serve", "--host", "0.0.0.0"]
