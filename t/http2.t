#!/usr/bin/env perl

# HTTP/2 in the same server: if this fails, a browser that speaks it gets no
# page, no API and no answer that says why there is no WebSocket, or a
# handshake over HTTP/1.1 on the same port is refused.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;


plan(skip_all => 'no curl with HTTP/2')
    if `curl --version 2>&1` !~ /^Features:.*\bHTTP2\b/m;

my $version = `@{[ Fanout::Nginx::binary() ]} -v 2>&1`;
my ($minor) = $version =~ m{/1\.(\d+)};

my $locations = <<'END';
        access_log %%DIR%%/access.log short;
        location /realtime { fanout app; fanout_permit all *; }
        location /raw      { fanout app; fanout_dialect raw;
                             fanout_permit all *; }
        location /fanout/  { fanout_api app; }
        location = /status { fanout_status app; }
        location = /plain  { return 200 "plain\n"; }
        location = /upload { client_max_body_size 10m; proxy_pass
            http://127.0.0.1:%%PORT%%/fanout/channels/up/messages; }
END

my ($listen, $on) = $minor >= 25 ? ('', 'http2 on;') : ('http2', '');

my $nginx = Fanout::Nginx->start(
    tls  => 1,
    http => <<'END',
        fanout_zone app 16m;
        fanout_channel app * history=100;
        log_format short '$status $server_protocol $request_uri';
END
    server => $locations,
    servers => <<"END",
        server {
            listen 127.0.0.1:%%PORT1%% ssl $listen;
            listen 127.0.0.1:%%PORT2%% $listen;
            $on
            ssl_certificate %%DIR%%/cert.pem;
            ssl_certificate_key %%DIR%%/key.pem;
            $locations
        }
END
);

my $dir   = $nginx->dir;
my $https = 'https://127.0.0.1:' . $nginx->port('PORT1');
my $h2c   = 'http://127.0.0.1:' . $nginx->port('PORT2');


# the answers of one curl, over one connection: "PROTOCOL STATUS BODY"

sub curl {
    my (@arguments) = @_;

    open my $out, '-|', 'curl', '-sk', '--max-time', 20,
         '-w', '\n%{http_version} %{response_code}\n', @arguments
        or die "curl: $!";

    local $/;
    return readline($out) // '';
}


for my $kind ([ 'TLS', $https, '--http2' ],
              [ 'prior knowledge', $h2c, '--http2-prior-knowledge' ])
{
    my ($name, $base, $option) = @$kind;

    subtest $name => sub {
        is(curl($option, "$base/plain"), "plain\n\n2 200\n", 'a page');

        my $got = curl($option, "$base/realtime");

        like($got, qr/\n2 426\n$/, 'the endpoint of a WebSocket');
        like($got, qr/upgrade over HTTP\/1\.1 is needed/, 'says what is');

        # a header "Upgrade" would be an error of its own in HTTP/2

        unlike(curl($option, '-i', "$base/realtime"), qr/^upgrade:/mi,
               'in the words of HTTP/2');

        $got = curl($option, '-d', '{"x":1}',
                    "$base/fanout/channels/a/messages");
        like($got, qr/"offset":\d+.*\n2 201\n$/s, 'a publish');

        $got = curl($option, "$base/fanout/channels/a/messages");
        like($got, qr/"data":\{"x":1\}.*\n2 200\n$/s, 'the history');

        $got = curl($option, "$base/status");
        like($got, qr/"zone":.*\n2 200\n$/s, 'the status');

        $got = curl($option, '-I', "$base/status");
        like($got, qr/^HTTP\/2 200/, 'HEAD');

        $got = curl($option, '-X', 'DELETE', "$base/realtime");
        like($got, qr/\n2 405\n$/, 'another method');

        my $data = '"' . 'x' x 50_000 . '"';

        open my $f, '>', "$dir/body" or die;
        print $f $data;
        close $f;

        $got = curl($option, '--data-binary', "\@$dir/body", "$base/upload");
        like($got, qr/"offset":\d+.*\n2 201\n$/s, 'a large publish by proxy');

        my $r = $nginx->http->get('/fanout/channels/up/messages?limit=1');
        is(length $r->json->{messages}[0]{data}, 50_000, 'is whole');

        # curl has no streams side by side with prior knowledge

        return if $name ne 'TLS';

        $got = curl($option, '-Z', '--no-progress-meter', map { ("$base/$_") }
                    ('plain', 'status', 'realtime', 'fanout/channels') x 10);
        is(scalar(my @n = $got =~ /^2 200$/mg), 30, 'streams side by side');
        is(scalar(@n = $got =~ /^2 426$/mg), 10, 'each with its own answer');
    };
}


subtest 'WebSocket on the port of HTTP/2' => sub {
    my $ann = Fanout::Native->connect(
        port => $nginx->port('PORT1'), tls => 1, alpn => ['http/1.1'],
        path => '/realtime'
    );
    my $bob = $nginx->native(path => '/realtime');

    $_->ok('join', channel => 'a', history => 0) for $ann, $bob;

    my $got = curl('--http2', '-d', '"by h2"',
                   "$https/fanout/channels/a/messages?event=e");

    like($got, qr/\n2 201\n$/, 'a publish over HTTP/2');
    is($_->next_push->{data}, 'by h2', 'reaches a session') for $ann, $bob;

    $ann->ok('publish', channel => 'a', data => 'x');
    is($bob->next_push->{data}, 'x', 'which works');
};


ok(wait_for(sub {
    open my $f, '<', "$dir/access.log" or return;
    local $/;
    my $log = readline $f;

    return $log =~ m{^426 HTTP/2\.0 /realtime$}m
        && $log =~ m{^201 HTTP/2\.0 /fanout/channels/a/messages$}m
        && $log =~ m{^101 HTTP/1\.1 /realtime$}m;
}), 'all is logged');


done_testing();
