package Fanout::Stream;

=head1 NAME

Fanout::Stream - a client of server-sent events that comes back as browsers do

=head1 SYNOPSIS

    my $ann = Fanout::Stream->new($nginx, '/rt', channels => [ 'a', 'b' ]);

    $ann->welcome->{client};
    is($ann->next_push->{data}, 'x');

    $ann->cut;
    $ann->come_back;                        # with its Last-Event-ID

=head1 DESCRIPTION

=over

=item new(nginx, path, %o)

Opens the stream and reads up to the first id. Options: C<channels>,
C<query> (more of it), C<headers> (a hash), C<since> (the Last-Event-ID to
begin with), and those of Fanout::HTTP's C<new>, as C<worker> and C<rcvbuf>.
Dies if the response is another than 200; C<response> has it.

=item welcome, joined(channel)

The object of the welcome; what was said of the join of a channel.

=item next_event(timeout?), next_push(timeout?)

The next event as a hash; the next object that is an entry, a gap, a reset or
a closing. Undef at a time-out or at the end (then C<eof> is true).

=item whole

Whether the stream has ended as HTTP says it: by a last chunk.

=item last_id, retry

What a browser would come back with, and after how many milliseconds.

=item cut, come_back(%o)

Ends the connection; opens another that goes on behind the last id.

=item follow(timeout)

As C<next_push>, and comes back by itself whenever the stream has ended.

=back

=cut

use strict;
use warnings;

use Time::HiRes qw( sleep );

use Fanout::Elapsed qw( time );
use Fanout::HTTP;
use Fanout::JSON;


sub new {
    my ($class, $nginx, $path, %o) = @_;

    my $self = bless { nginx => $nginx, path => $path, o => \%o,
                       last_id => $o{since} }, $class;

    $self->open;

    return $self;
}


sub escape {
    my ($text) = @_;

    $text =~ s/([^A-Za-z0-9_.~-])/sprintf '%%%02X', ord $1/ge;

    return $text;
}


sub url {
    my ($self) = @_;

    my $query = join '&', (map { 'channel=' . escape($_) }
                               @{ $self->{o}{channels} || [] }),
                          $self->{o}{query} ? $self->{o}{query} : ();

    return "$self->{path}?$query";
}


sub open {
    my ($self, %more) = @_;

    my %o = (%{ $self->{o} }, %more);
    my %headers = (Accept => 'text/event-stream', %{ $o{headers} || {} });

    delete @o{qw( channels query headers since )};

    $headers{'Last-Event-ID'} = $self->{last_id}
        if defined $self->{last_id};

    my $http = $self->{nginx}->http(%o);

    $self->{http} = $http;
    $self->{queue} = [];
    delete @$self{qw( welcome joined )};

    my $r = $self->{response} = $http->start('GET', $self->url,
                                             headers => \%headers);

    die "no stream: $r->{status}\n" if $r->{status} != 200;

    my $id = $self->{last_id};
    my $from = time;

    # the last of what is said of the joins has the id of where it stands

    while (time - $from < 20) {
        my $event = $self->next_event(20) or die "no welcome\n";
        my $object = $self->object($event) or next;

        if ($object->{welcome}) {
            $self->{welcome} = $object->{welcome};

        } elsif ($object->{ok}) {
            $self->{joined}{ $object->{ok}{channel} } = $object->{ok};

        } else {
            push @{ $self->{queue} }, $object;
        }

        last if exists $event->{id};
    }
}


sub object {
    my ($self, $event) = @_;

    return undef if !defined $event->{data};
    return Fanout::JSON::decode($event->{data});
}


sub response { $_[0]{response} }
sub welcome  { $_[0]{welcome} }
sub joined   { $_[0]{joined}{ $_[1] } }
sub last_id  { $_[0]{last_id} }
sub retry    { $_[0]{retry} }
sub eof      { $_[0]{http}->eof }
sub whole    { $_[0]{http}->whole }
sub socket   { $_[0]{http}->socket }


sub next_event {
    my ($self, $timeout) = @_;

    my $event = $self->{http}->next_event($timeout) or return undef;

    $self->{last_id} = $event->{id} if exists $event->{id};
    $self->{retry} = $event->{retry} if exists $event->{retry};

    return $event;
}


sub next_push {
    my ($self, $timeout) = @_;

    return shift @{ $self->{queue} } if @{ $self->{queue} };

    my $end = time + (defined $timeout ? $timeout : 10);

    while (1) {
        my $left  = $end - time;
        my $event = $self->next_event($left > 0 ? $left : 0) or return undef;
        my $object = $self->object($event) or next;

        return $object;
    }
}


sub cut {
    my ($self) = @_;

    $self->{http}->socket->cut;
}


sub come_back {
    my ($self, %o) = @_;

    $self->open(%o);
}


sub follow {
    my ($self, $timeout) = @_;

    my $end = time + $timeout;

    while (time < $end) {
        my $left = $end - time;
        my $push = $self->next_push($left);

        return $push if $push && !$push->{closing};

        next if $push || !$self->eof;

        until (time > $end || eval { $self->come_back; 1 }) {
            sleep 0.05;
        }
    }

    return undef;
}


1;
