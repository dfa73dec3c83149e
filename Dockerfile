# docker build -t digits . && docker run --read-only --memory 256m -p 8080:8080 digits

FROM python:3.11-slim-bookworm AS packages
WORKDIR /build
COPY requirements.lock ./
COPY deploy/install.sh deploy/
RUN sh deploy/install.sh /packages

FROM python:3.11-slim-bookworm
WORKDIR /digits
COPY --from=packages /packages /packages
COPY models/*.onnx models/
COPY server server
RUN python -m compileall -q server
# Numeric, so that Kubernetes can verify that it is not root.
USER 65532:65532
ENV PYTHONPATH=/packages \
    PYTHONUNBUFFERED=1 \
    PORT=8080
EXPOSE 8080
# Not `python -m server health`, which imports the whole server first.
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s \
    CMD ["python", "-m", "server.health"]
CMD ["python", "-m", "server"]
