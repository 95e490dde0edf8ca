#!/usr/bin/env perl

# fanout_broadcast before a REST server as it comes from npm: if this fails, a
# team that puts NGINX before its API does not see its writes live, sees them
# in another order, twice, or not as the server has them; or the server's
# clients get something else than before.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Rest;


my $db = {
    posts    => [ map { { id => $_, title => "post $_" } } 1 .. 5 ],
    comments => [],
};

my ($rest, $twin) = map { Fanout::Rest->start($db) } 1, 2;

# the same name for both, so that what they answer can be compared

my $proxy = <<'END';
        proxy_set_header Host rest.test;
        proxy_set_header Accept-Encoding "";
END

my $nginx = Fanout::Nginx->start(
    http => 'fanout_zone app 16m; fanout_channel app * history=10000;',
    server => <<"END",
        location = /realtime { fanout app; fanout_permit all *; }
        location = /status { fanout_status app; }

        location ~ ^/(?<table>\\w+) {
            $proxy
            proxy_pass http://127.0.0.1:@{[ $rest->port ]};
            fanout_broadcast app table:\$table event=\$request_method
                             user=\$http_x_user client=\$http_fanout_client;
        }
END
);

my $bare = Fanout::Nginx->start(
    module => '',
    server => <<"END",
        location / {
            $proxy
            proxy_pass http://127.0.0.1:@{[ $twin->port ]};
        }
END
);

my @http    = map { $nginx->http(worker => $_) } $nginx->worker_pids;
my $without = $bare->http;
my $turn    = 0;

my @ears = map { $nginx->native(worker => $_, path => '/realtime') }
           $nginx->worker_pids;

for my $ear (@ears) {
    $ear->ok('join', channel => "table:$_") for qw( posts comments );
}


sub answer {
    my ($r) = @_;

    return join "\n", (grep { !/^(?:Date|X-Worker):/ } split /\r\n/,
                       $r->{head}), $r->{body};
}


my $type = { 'Content-Type' => 'application/json' };

my @requests = (
    [ GET    => '/posts' ],
    [ GET    => '/posts/1' ],
    [ GET    => '/posts/99' ],
    [ HEAD   => '/posts' ],
    [ GET    => '/posts?_page=2&_limit=2' ],
    [ OPTIONS => '/posts' ],
    [ POST   => '/posts', { title => "h\x{e9}llo <b> \x{1f600}" } ],
    [ POST   => '/posts', { id => 1, title => 'taken' } ],
    [ POST   => '/comments', { postId => 6, body => "a\nb" } ],
    [ PUT    => '/posts/1', { title => 'one' } ],
    [ PATCH  => '/posts/2', { more => [ 1, { a => undef } ] } ],
    [ PUT    => '/posts/99', { title => 'nobody' } ],
    [ DELETE => '/posts/3' ],
    [ DELETE => '/posts/99' ],
    [ POST   => '/nothing', {} ],
    [ POST   => '/posts', { long => 'x' x 50_000 } ],
    [ POST   => '/posts', { longer => 'x' x 90_000 } ],
    [ GET    => '/posts' ],
);

my @heard;

subtest 'its clients get what they got' => sub {
    for my $request (@requests) {
        my ($method, $path, $body) = @$request;

        my @o = defined $body ? (body => Fanout::JSON::encode($body)) : ();

        my ($want, $got) = map {
            answer($_->request($method => $path, @o,
                               headers => defined $body ? $type : {}))
        } $without, $http[$turn++ % 2];

        ok($got eq $want, "$method $path") or diag("$got\n--\n$want");

        push @heard, [ $method, $path, $got ]
            if $method !~ /GET|HEAD|OPTIONS/ && $got =~ /^HTTP\S+ 2/;
    }
};


subtest 'who listens sees what they wrote' => sub {
    for my $ear (@ears) {
        for my $write (@heard) {
            my ($method, $path, $answer) = @$write;
            my ($status, $body) = $answer =~ m{^HTTP\S+ (\d+)[^\n]*\n(?:[^\n]+: [^\n]*\n)*(.*)}s;

            my $push = $ear->next_push;
            my $long = length $body > 65_536;

            is($push->{event}, $method, "$method $path");
            is_deeply($push->{meta},
                      { method => $method, path => $path, status => $status,
                        $long ? (omitted => 'large') : () }, 'what was done');
            is_deeply($push->{data},
                      $long ? undef : Fanout::JSON::decode($body), 'the data');
        }
    }
};


# A copy of the tables, made only of what is heard

my %copy;

sub apply {
    my ($copy, $push) = @_;

    my ($table, $id) = $push->{meta}{path} =~ m{^/(\w+)(?:/(\w+))?};

    if ($push->{event} eq 'DELETE') {
        delete $copy->{$table}{$id};

    } else {
        $copy->{$table}{ $push->{data}{id} } = $push->{data};
    }
}


subtest 'many writers at once' => sub {
    my @copies = map {
        my $c = {};
        for my $table (qw( posts comments )) {
            $c->{$table}{ $_->{id} } = $_
                for @{ $http[0]->get("/$table")->json };
        }
        $c;
    } @ears;

    my @pids    = $nginx->worker_pids;
    my @writers = map {
        { http => $nginx->http(worker => $pids[$_ % 2]), mine => [], n => $_ }
    } 1 .. 6;
    my $writes  = 0;

    # Each changes only what it has made itself, one request at a time. An id
    # of the server's own choice could be one that another writer has just
    # deleted: which of two that are under way at once is first, only the
    # server knows.

    for my $round (1 .. 60) {
        for my $w (@writers) {
            my $mine = $w->{mine};
            my $what = @$mine ? int rand 4 : 0;
            my $id   = @$mine ? $mine->[rand @$mine] : 0;

            my $method = (qw( POST PUT PATCH DELETE ))[$what];
            my $path = $what ? "/posts/$id" : '/posts';

            @$mine = grep { $_ ne $id } @$mine if $method eq 'DELETE';

            $w->{method} = $method;
            $w->{http}->connection->send_bytes($w->{http}->format_request(
                $method => $path, headers => $type,
                $method eq 'DELETE' ? () :
                    (body => Fanout::JSON::encode(
                        { $what ? () : (id => "w$w->{n}r$round"),
                          "round$round" => $round }))));
        }

        for my $w (@writers) {
            my $r = $w->{http}->read_response;

            fail("$w->{method}: $r->{status}") if $r->{status} !~ /^2/;
            push @{ $w->{mine} }, $r->json->{id} if $w->{method} eq 'POST';
            $writes++;
        }
    }

    for my $i (0 .. $#ears) {
        my %seen;

        for (1 .. $writes) {
            my $push = $ears[$i]->next_push or last;

            fail("$push->{offset} twice") if $seen{ $push->{offset} }++;
            apply($copies[$i], $push);
        }

        is(scalar keys %seen, $writes, "$writes writes are heard");
        is(scalar(my @more = $ears[$i]->drain), 0, 'no more');

        for my $table (qw( posts comments )) {
            my %there = map { $_->{id} => $_ }
                        @{ $http[0]->get("/$table")->json };

            is_deeply($copies[$i]{$table}, \%there,
                      "the copy of $table is what the server has");
        }
    }
};


subtest 'who and from where' => sub {
    $http[0]->post('/comments', '{"body":"x"}', headers => {
        %$type, 'X-User' => 'ann', 'Fanout-Client' => $ears[0]->client });

    is_deeply($ears[1]->next_push->{from},
              { user => 'ann', client => $ears[0]->client }, 'it is told');

    $http[1]->post('/comments', '{"body":"y"}', headers => $type);

    is($ears[0]->next_push->{data}{body}, 'y', 'no echo to who has written');
    is($ears[1]->next_push->{data}{body}, 'y', 'the others go on');
};


my $counters = $http[0]->get('/status')->json->{counters};

is($counters->{broadcast_failures}, 0, 'no failures');
is($counters->{broadcast_skipped}, 1, 'one without its body');
