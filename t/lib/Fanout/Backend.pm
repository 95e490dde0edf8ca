package Fanout::Backend;

=head1 NAME

Fanout::Backend - an HTTP server that answers what the request asks for

=head1 SYNOPSIS

    use Fanout::Backend;

    my $backend = Fanout::Backend->start;

    # NGINX: proxy_pass http://127.0.0.1:PORT, PORT being $backend->port

    $http->post('/api/x', '{}', headers => { script(
        send => "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n",
        wait => 'go',
        send => 'ok',
    ) });

    $backend->let('go');
    my @raw = $backend->requests;

=head1 DESCRIPTION

Serves each connection in a process of its own, HTTP/1.1 with keepalive. A
request that has no script is answered by 201 and a JSON of its method, path
and body. The steps of a script:

    send => bytes       sends them
    fill => n           sends n bytes of a pattern
    wait => name        until the test says let(name); 30 s at most
    close => 1          closes the connection

C<response(status, headers, body)> makes the bytes of a response, headers as
an array of pairs, with Content-Length unless there is one or it is chunked.
C<pattern(n)> is what fill sends. C<requests> are the raw bytes of all requests so far, in the order in which
they were complete. C<wait_requests(n)> waits until there are as many.

C<override(steps)> is the script of all requests from now on, whatever they
have, until it is called without one.

C<stop> closes its connections and its port, where nobody answers until
C<begin>. What answers is C<answer(connection, head, body)>, for others to
replace.

=cut

use strict;
use warnings;

use Exporter qw( import );
use File::Path qw( remove_tree );
use File::Temp qw( tempdir );
use IO::Socket::INET;
use MIME::Base64 qw( decode_base64 encode_base64 );
use POSIX ();
use Time::HiRes qw( sleep time );

use Fanout::JSON;
use Fanout::Nginx ();

our @EXPORT = qw( script response pattern );


sub start {
    my ($class) = @_;

    # not listened on: it keeps the port while the backend is stopped

    my $place = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1', LocalPort => 0, Proto => 'tcp',
        ReuseAddr => 1
    ) or die "no backend: $!";

    my $self = bless {
        dir => tempdir('backend-XXXXXX', TMPDIR => 1),
        place => $place, port => $place->sockport, owner => $$,
    }, $class;

    mkdir "$self->{dir}/$_" for qw( let requests );

    return $self->begin;
}


sub begin {
    my ($self) = @_;

    my $listen = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1', LocalPort => $self->{port}, Proto => 'tcp',
        Listen => 100, ReuseAddr => 1
    ) or die "no backend: $!";

    my $pid = fork;
    die "fork: $!" if !defined $pid;

    if (!$pid) {
        Fanout::Nginx::die_with_parent();
        $SIG{TERM} = 'DEFAULT';
        $SIG{CHLD} = 'IGNORE';
        eval { $self->accept_all($listen) };
        POSIX::_exit(0);
    }

    $self->{pid} = $pid;

    return $self;
}


sub stop {
    my ($self) = @_;

    kill 'TERM', $self->{pid};
    waitpid $self->{pid}, 0;
    $self->{pid} = 0;

    # its connections end with it, a moment later
    Fanout::Nginx::wait_for(sub { !$self->connections });

    return $self;
}


sub connections {
    my ($self) = @_;

    my $port = sprintf '%04X', $self->{port};

    return grep { /^\s*\d+: 0100007F:$port \S+ 0[1A] / }
           split /\n/, Fanout::Nginx::slurp('/proc/net/tcp');
}


sub port { $_[0]{port} }


sub let {
    my ($self, $name) = @_;

    open my $f, '>', "$self->{dir}/let/$name" or die "let: $!";
    close $f;
}


sub requests {
    my ($self) = @_;

    my @raw;

    for my $path (sort glob "$self->{dir}/requests/*") {
        open my $f, '<', $path or die "$path: $!";
        local $/;
        push @raw, scalar readline $f;
    }

    return @raw;
}


sub wait_requests {
    my ($self, $n) = @_;

    return Fanout::Nginx::wait_for(sub { $self->requests >= $n });
}


sub script {
    my @steps = @_;

    my @lines;

    while (my ($verb, $what) = splice @steps, 0, 2) {
        push @lines, "$verb=" . encode_base64($what, '');
    }

    return ('X-Script' => join ' ', @lines);
}


sub override {
    my ($self, @steps) = @_;

    my $path = "$self->{dir}/override";

    return unlink $path if !@steps;

    my (undef, $script) = script(@steps);

    open my $f, '>', "$path.new" or die "override: $!";
    print $f $script;
    close $f;
    rename "$path.new", $path;
}


sub response {
    my ($status, $headers, $body) = @_;

    $body = '' if !defined $body;

    my $text = "HTTP/1.1 $status x\r\n"
             . join '', map { "$_->[0]: $_->[1]\r\n" } @$headers;

    $text .= 'Content-Length: ' . length($body) . "\r\n"
        if $status != 204
        && !grep { $_->[0] =~ /^(?:Content-Length|Transfer-Encoding)$/i }
                 @$headers;

    return "$text\r\n$body";
}


sub pattern {
    my ($size) = @_;

    return substr '0123456789abcde' x ($size / 15 + 1), 0, $size;
}


# in processes of its own from here on

sub accept_all {
    my ($self, $listen) = @_;

    while (1) {
        my $c = $listen->accept or next;
        my $pid = fork;

        if (defined $pid && !$pid) {
            Fanout::Nginx::die_with_parent();
            $SIG{PIPE} = 'DEFAULT';
            eval { $self->serve($c) };
            POSIX::_exit(0);
        }

        close $c;
    }
}


sub serve {
    my ($self, $c) = @_;

    my $buffer = '';

    while (my ($raw, $head, $body) = read_request($c, \$buffer)) {
        $self->remember($raw);
        $self->answer($c, $head, $body);
    }
}


sub answer {
    my ($self, $c, $head, $body) = @_;

    my ($method, $path) = $head =~ /^(\S+) (\S+)/;

    if (open my $f, '<', "$self->{dir}/override") {
        $self->run($c, scalar readline $f);
        return;
    }

    if ($head =~ /^X-Script:\s*(.*?)\r?$/mi) {
        $self->run($c, $1);
        return;
    }

    my $text = Fanout::JSON::encode({
        method => $method, path => $path, body => $body
    });

    put($c, response(201, [ [ 'Content-Type' => 'application/json' ] ],
                     $method eq 'HEAD' ? '' : $text));
}


sub read_request {
    my ($c, $buffer) = @_;

    while ($$buffer !~ /\r\n\r\n/) {
        sysread $c, $$buffer, 65536, length $$buffer or return;
    }

    $$buffer =~ /^(.*?\r\n\r\n)/s;

    my $head = $1;
    my ($length) = $head =~ /^Content-Length:\s*(\d+)/mi;

    my $size = length($head) + ($length || 0);

    while (length $$buffer < $size) {
        sysread $c, $$buffer, 65536, length $$buffer or return;
    }

    my $raw = substr $$buffer, 0, $size, '';

    return ($raw, $head, substr $raw, length $head);
}


sub remember {
    my ($self, $raw) = @_;

    my $name = sprintf "%020.6f-%d", time, $$;

    open my $f, '>', "$self->{dir}/$name" or die;
    print $f $raw;
    close $f;

    rename "$self->{dir}/$name", "$self->{dir}/requests/$name";
}


sub run {
    my ($self, $c, $steps) = @_;

    for my $step (split / /, $steps) {
        my ($verb, $what) = split /=/, $step, 2;

        $self->step($c, $verb, decode_base64($what));
    }
}


sub step {
    my ($self, $c, $verb, $what) = @_;

    if ($verb eq 'send') {
        put($c, $what);

    } elsif ($verb eq 'fill') {
        put($c, pattern($what));

    } elsif ($verb eq 'wait') {
        my $end = time + 30 * $Fanout::Socket::SCALE;
        sleep 0.005 while !-e "$self->{dir}/let/$what" && time < $end;

    } else {
        POSIX::_exit(0);
    }
}


sub put {
    my ($c, $bytes) = @_;

    while (length $bytes) {
        my $n = syswrite $c, $bytes;
        POSIX::_exit(0) if !$n;
        substr $bytes, 0, $n, '';
    }
}


sub DESTROY {
    my ($self) = @_;

    return if $$ != $self->{owner};

    local ($?, $!);

    if ($self->{pid}) {
        kill 'TERM', $self->{pid};
        waitpid $self->{pid}, 0;
    }

    remove_tree($self->{dir});
}


1;
